"""Mixed precision wherever the model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper as _DeviceAmpOptimWrapper
from mmengine.optim import OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Mixed precision on the CPU: bfloat16 inside the model, no loss scaling.

    bfloat16 has float32's exponents, so gradients neither vanish nor overflow for want
    of a scale.

    Args:
        optimizer: The optimizer.
        **options: As of :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under CPU autocast."""
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield


@OPTIM_WRAPPERS.register_module(name='AmpOptimWrapper')
def amp_optim_wrapper(
    optimizer: torch.optim.Optimizer,
    *,
    loss_scale: str | float | dict = 'dynamic',
    dtype: str | torch.dtype | None = None,
    accumulative_counts: int = 1,
    clip_grad: dict | None = None,
) -> OptimWrapper:
    """The mixed precision wrapper of the device at hand.

    Stands for MMEngine's ``AmpOptimWrapper``, which refuses to be built on a CPU: the
    same config trains on both.

    Args:
        optimizer: The optimizer.
        loss_scale: 'dynamic', a number or GradScaler's arguments; unused on the CPU.
        dtype: 'float16' or 'bfloat16'; on the CPU always bfloat16.
        accumulative_counts: Steps whose gradients are added up before an update.
        clip_grad: Arguments of gradient clipping.
    """
    common: dict[str, Any] = dict(
        optimizer=optimizer, accumulative_counts=accumulative_counts, clip_grad=clip_grad
    )
    if get_device() == 'cpu':
        return CPUAmpOptimWrapper(**common)
    return _DeviceAmpOptimWrapper(loss_scale=loss_scale, dtype=dtype, **common)
