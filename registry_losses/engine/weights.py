"""Weights of a checkpoint for a model: all of them, or an error that names what differs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from .checkpoint import load_checkpoint_file


def load_weights(model: nn.Module, checkpoint: str | os.PathLike) -> dict:
    """Load a checkpoint into a model, all of it or nothing.

    Returns:
        The checkpoint's ``meta``.

    Raises:
        CheckpointError: Naming entries that are missing, left over or of another shape.
    """
    if '://' in str(checkpoint):
        loaded = torch.hub.load_state_dict_from_url(
            str(checkpoint), map_location='cpu', weights_only=True
        )
    else:
        loaded = load_checkpoint_file(checkpoint)
    state: Mapping[str, Tensor] = loaded.get('state_dict', loaded)
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    own = model.state_dict()
    problems = {
        'missing': [name for name in own if name not in state],
        'left over': [name for name in state if name not in own],
        'of another shape': [
            f'{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}'
            for name in own
            if name in state and state[name].shape != own[name].shape
        ],
    }
    found = [
        f'{len(names)} {kind} ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})'
        for kind, names in problems.items()
        if names
    ]
    if found:
        raise CheckpointError(
            f'{checkpoint}: not the weights of this config: entries ' + '; '.join(found)
        )
    model.load_state_dict(state)
    return dict(loaded.get('meta') or {})


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
