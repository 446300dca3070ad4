"""What heads of every kind do with their config nodes and sample metas."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import ConfigError, PairingError


def build(registry, node, name: str = ''):
    """Build the config node that stands under ``name``; pass an object or None through.

    Raises:
        ConfigError: For a bare name, which looks as if it would do.
    """
    if isinstance(node, str):
        raise ConfigError(f'{name}: expected dict(type={node!r}), got the bare name {node!r}')
    part = registry.build(node) if isinstance(node, dict) else node
    if part is not None and name in _ASKED:
        _check_protocol(registry, part, name)
    return part


# What heads ask of parts that OpenMMLab's classes of the same purpose do not have, and the
# class that has it.
_ASKED: Mapping[str, tuple[tuple[str, ...], str]] = {
    'prior_generator': (('__call__', 'num_levels', 'level'), 'priors.BasePriorGenerator'),
    'bbox_coder': (('activate', 'clamp_encoded', 'reference'), 'coders.BaseBBoxCoder'),
    'sampler': (('__call__', 'needs'), 'samplers.BaseSampler'),
}


def _check_protocol(registry, part, name: str) -> None:
    """Refuse a part of another project that speaks another language, and say what to use.

    Raises:
        PairingError: Naming the part, and ours of the same name where there is one.
    """
    asked, base = _ASKED[name]
    kind = type(part)
    missing = [each for each in asked if not hasattr(part, each)]
    if not missing:
        return
    own = registry.module_dict.get(kind.__name__)
    remedy = (
        f"use this project's: type='registry_losses.{kind.__name__}', whose arguments are the same"
        if own is not None and own is not kind
        else f'derive it from registry_losses.{base}'
    )
    raise PairingError(
        f'{name}: {kind.__module__}.{kind.__name__} lacks what heads ask of it here '
        f'({", ".join(missing)}); {remedy}'
    )


def pad_shapes(metas: Sequence[Mapping]) -> Tensor | None:
    """``(B, 2)`` height and width of each image with its own padding; None if all are alike."""
    shapes = [meta.get('pad_shape', meta['img_shape'])[:2] for meta in metas]
    whole = [meta.get('batch_input_shape') for meta in metas]
    if all(w is not None and tuple(w[:2]) == tuple(s) for w, s in zip(whole, shapes)):
        return None
    return torch.tensor(shapes, dtype=torch.float32)
