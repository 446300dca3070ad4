"""Gradients that wait for their update, in checkpoints between two updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import distributed as torch_dist
from torch import nn

from .sharding import as_share_of, local_share


def gather_gradients(runner: Any) -> list[dict[str, torch.Tensor]]:
    """The gradients of every rank that wait for their update; empty where none does.

    Every rank has to call this; rank 0 gets them.
    """
    wrapper = runner.optim_wrapper
    counts = getattr(wrapper, '_accumulative_counts', 1)
    if counts <= 1 or getattr(wrapper, '_inner_count', 0) % counts == 0:
        return []
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    own = {n: local_share(p.grad).cpu() for n, p in model.named_parameters() if p.grad is not None}
    if runner.world_size == 1:
        return [own]
    found: list[Any] | None = [None] * runner.world_size if is_main_process() else None
    torch_dist.gather_object(own, found, dst=0)
    return found or []


def restore_gradients(
    model: nn.Module, gradients: Sequence[Mapping[str, torch.Tensor]] | Mapping | None
) -> None:
    """Put back the gradients of this rank.

    Args:
        model: The model, wrapped or not.
        gradients: As :func:`gather_gradients` found them; a checkpoint of the release before
            holds those of its one process.
    """
    if not gradients:
        return
    by_rank = [gradients] if isinstance(gradients, Mapping) else gradients
    if len(by_rank) != get_world_size():
        print_log(
            f'The checkpoint holds gradients of {len(by_rank)} processes that wait for their'
            f' update, and there are {get_world_size()} now: they are dropped, and the run is not'
            ' the same as an uninterrupted one.',
            'current',
            30,
        )
        return
    own: Mapping[str, torch.Tensor] = by_rank[get_rank()]
    plain: Any = model.module if is_model_wrapper(model) else model
    for name, parameter in plain.named_parameters():
        if name in own:
            grad = own[name].to(parameter.device, copy=True)
            parameter.grad = as_share_of(parameter, grad)
