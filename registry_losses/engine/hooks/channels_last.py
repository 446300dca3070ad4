"""Convolutions with the channels innermost, which CPUs and tensor cores are faster at."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook

from ...registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Lay the weights out with the channels innermost before a run starts.

    Convolutions take their memory layout from their weights, so the maps between them
    follow. Values, state dicts and checkpoints stay what they are: only strides change,
    and sums are rounded in another order.
    """

    # Before EMAHook copies the model and before a checkpoint's values are read into it.
    priority = 'VERY_HIGH'

    def before_run(self, runner: Any) -> None:
        """See :class:`ChannelsLastHook`."""
        runner.model.to(memory_format=torch.channels_last)
