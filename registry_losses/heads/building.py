"""What heads of every kind do with their config nodes and sample metas."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import ConfigError


def build(registry, node, name: str = ''):
    """Build the config node that stands under ``name``; pass an object or None through.

    Raises:
        ConfigError: For a bare name, which looks as if it would do.
    """
    if isinstance(node, str):
        raise ConfigError(f'{name}: expected dict(type={node!r}), got the bare name {node!r}')
    return registry.build(node) if isinstance(node, dict) else node


def pad_shapes(metas: Sequence[Mapping]) -> Tensor | None:
    """``(B, 2)`` height and width of each image with its own padding; None if all are alike."""
    shapes = [meta.get('pad_shape', meta['img_shape'])[:2] for meta in metas]
    whole = [meta.get('batch_input_shape') for meta in metas]
    if all(w is not None and tuple(w[:2]) == tuple(s) for w, s in zip(whole, shapes)):
        return None
    return torch.tensor(shapes, dtype=torch.float32)
