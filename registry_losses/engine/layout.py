"""Weights with the channels innermost, laid out while that changes nothing but strides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

HOOK = 'ChannelsLastHook'


def asks_for_channels_last(cfg: Mapping[str, Any]) -> bool:
    """Whether the hooks of a config name :class:`~.hooks.ChannelsLastHook`."""
    given = list((cfg.get('default_hooks') or {}).values()) + list(cfg.get('custom_hooks') or [])
    kinds = [node.get('type') for node in given if isinstance(node, Mapping)]
    return HOOK in [
        k.split('.')[-1] if isinstance(k, str) else getattr(k, '__name__', '') for k in kinds
    ]


def lay_out(model: nn.Module) -> None:
    """Put the channels of every 4-D weight innermost."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def is_laid_out(model: nn.Module) -> bool:
    """Whether every 4-D weight has its channels innermost."""
    maps = [p for p in model.parameters() if p.ndim == 4]
    return all(p.is_contiguous(memory_format=torch.channels_last) for p in maps)


@contextmanager
def channels_first(model: nn.Module) -> Iterator[None]:
    """Meanwhile the usual layout, in which random draws fill weights in the usual order."""
    changed = not all(p.is_contiguous() for p in model.parameters())
    if changed:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    yield
    if changed:
        lay_out(model)
