"""Weights of a checkpoint for a model: all of them, or as many as fit, and what became of each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model.weight_init import update_init_info
from torch import Tensor, nn

from ..errors import CheckpointError
from ..registry import WEIGHT_INITIALIZERS
from .safe_loading import fetch_checkpoint, load_checkpoint_file


@dataclass(frozen=True)
class Match:
    """How a checkpoint's tensors and a model's compare.

    Attributes:
        fitting: Tensors of the same name and shape.
        missing: Names that the model has and the checkpoint lacks.
        left_over: Names that the checkpoint has and the model lacks.
        reshaped: Names of both whose shapes differ, with the shapes.
    """

    fitting: dict[str, Tensor]
    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)

    def differences(self) -> str:
        """What differs, in words; empty where nothing does."""
        kinds = {
            'missing': self.missing,
            'left over': self.left_over,
            'of another shape': self.reshaped,
        }
        found = [f'{len(names)} {kind} ({_some(names)})' for kind, names in kinds.items() if names]
        return '; '.join(found)

    def summary(self) -> str:
        """How many tensors are loaded, which start afresh, and why."""
        afresh = len(self.missing) + len(self.reshaped)
        text = f'{len(self.fitting)} of {len(self.fitting) + afresh} tensors loaded'
        why = []
        if self.reshaped:
            why.append(f'{len(self.reshaped)} have another shape there ({_some(self.reshaped)})')
        if self.missing:
            why.append(f'{len(self.missing)} are not there ({_some(self.missing)})')
        if why:
            text += f'; {afresh} start afresh: ' + ', '.join(why)
        if self.left_over:
            text += f'; {len(self.left_over)} of it are not used ({_some(self.left_over)})'
        return text


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')


def match_weights(model: nn.Module, state: Mapping[str, Tensor]) -> Match:
    """Compare a state dict with a model; the ``module.`` of distributed training is left out."""
    own = model.state_dict()
    state = {name.removeprefix('module.'): v for name, v in state.items() if torch.is_tensor(v)}
    fits = {n: v for n, v in state.items() if n in own and own[n].shape == v.shape}
    return Match(
        fitting=fits,
        missing=[name for name in own if name not in state],
        left_over=[name for name in state if name not in own],
        reshaped=[
            f'{n} {tuple(state[n].shape)} for {tuple(own[n].shape)}'
            for n in own
            if n in state and n not in fits
        ],
    )


def check_finite(name: Any, state: Mapping[str, Any]) -> None:
    """Refuse weights that hold NaN or infinity.

    Raises:
        CheckpointError: Naming the tensors.
    """
    bad = [
        key
        for key, value in state.items()
        if torch.is_tensor(value) and value.is_floating_point() and not value.isfinite().all()
    ]
    if bad:
        raise CheckpointError(
            f'{name}: {len(bad)} tensors hold NaN or infinity ({_some(bad)}): a training that has'
            ' gone wrong. Take an earlier checkpoint'
        )


def state_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state dict in a checkpoint, or the checkpoint itself where it is one."""
    state = checkpoint.get('state_dict', checkpoint)
    return state if isinstance(state, Mapping) else {}


def load_weights(model: nn.Module, checkpoint: str | os.PathLike) -> dict:
    """Load a checkpoint into a model, all of it or nothing.

    Returns:
        The checkpoint's ``meta``.

    Raises:
        CheckpointError: Naming entries that are missing, left over, of another shape or not
            finite.
    """
    loaded = load_checkpoint_file(fetch_checkpoint(checkpoint))
    require_all(model, state_of(loaded), checkpoint)
    return dict(loaded.get('meta') or {})


def require_all(model: nn.Module, state: Mapping[str, Any], name: Any) -> None:
    """Load a state dict that must fit a model tensor for tensor; see :func:`load_weights`."""
    match = match_weights(model, state)
    if match.differences():
        raise CheckpointError(
            f'{name}: not the weights of this config: entries {match.differences()}'
        )
    check_finite(name, match.fitting)
    model.load_state_dict(match.fitting)


def load_what_fits(model: nn.Module, state: Mapping[str, Any], name: Any) -> Match:
    """Load the tensors that fit, and say in the log which do not.

    Raises:
        CheckpointError: If none fits, or one that does is not finite.
    """
    match = match_weights(model, state)
    if not match.fitting:
        raise CheckpointError(
            f'{name}: none of its {len(state)} entries fits this model: {match.differences()}'
        )
    check_finite(name, match.fitting)
    model.load_state_dict(match.fitting, strict=False)
    print_log(f'{name}: {match.summary()}', 'current')
    return match


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class PretrainedInit:
    """``init_cfg=dict(type='Pretrained', checkpoint=...)``, read without running its code.

    Stands for MMEngine's initialiser of this name.

    Args:
        checkpoint: A file or URL, as :func:`fetch_checkpoint` reads it.
        prefix: Take the entries below this name alone, e.g. ``'backbone.'``.
        map_location: As in ``torch.load``.
    """

    def __init__(
        self, checkpoint: str, prefix: str | None = None, map_location: str = 'cpu'
    ) -> None:
        self.checkpoint, self.prefix, self.map_location = checkpoint, prefix, map_location

    def __call__(self, module: nn.Module) -> None:
        """Load what fits.

        Raises:
            CheckpointError: If the file cannot be read, or nothing of it fits.
        """
        path = fetch_checkpoint(self.checkpoint)
        state = state_of(load_checkpoint_file(path, map_location=self.map_location))
        if self.prefix:
            prefix = self.prefix if self.prefix.endswith('.') else f'{self.prefix}.'
            state = {k.removeprefix('module.'): v for k, v in state.items()}
            state = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
            if not state:
                raise CheckpointError(f'{self.checkpoint}: no entry begins with {prefix!r}')
        load_what_fits(module, state, self.checkpoint)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'PretrainedInit: load from {self.checkpoint}')


def without_pretrained(node: Any) -> Any:
    """A model node that fetches no pretrained weights: the checkpoint holds them all."""
    if isinstance(node, Mapping):
        kept = {k: without_pretrained(v) for k, v in node.items()}
        init = kept.get('init_cfg')
        if isinstance(init, Mapping) and init.get('type') == 'Pretrained':
            kept['init_cfg'] = None
        return kept
    if isinstance(node, (list, tuple)):
        return type(node)(without_pretrained(v) for v in node)
    return node
