"""Mixed precision wherever the model runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper as _DeviceAmpOptimWrapper
from mmengine.optim import OptimWrapper
from torch import nn

from ..errors import ConfigError
from ..ops.device import has_bfloat16_units
from ..registry import OPTIM_WRAPPERS

LossScale: TypeAlias = 'str | float | dict[str, Any]'


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(_DeviceAmpOptimWrapper):
    """Mixed precision on the CPU.

    bfloat16 has float32's exponents, so gradients neither vanish nor overflow for want
    of a scale; float16's are scaled, as on a GPU. Stands for MMEngine's wrapper, whose
    start refuses a CPU.

    Args:
        optimizer: The optimizer.
        dtype: 'bfloat16' or 'float16'.
        loss_scale: For float16: 'dynamic', a number or GradScaler's arguments.
        **options: As of :class:`mmengine.optim.OptimWrapper`.

    Raises:
        ConfigError: For another dtype, or float16 before PyTorch 2.3, which scales no
            gradients on a CPU.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        dtype: str | torch.dtype = torch.bfloat16,
        loss_scale: LossScale = 'dynamic',
        **options: Any,
    ) -> None:
        OptimWrapper.__init__(self, optimizer, **options)
        name = str(dtype).removeprefix('torch.')
        if name not in ('bfloat16', 'float16'):
            raise ConfigError(
                f"optim_wrapper.dtype: expected 'bfloat16' or 'float16' on a CPU, got {name!r}"
            )
        if name == 'bfloat16' and has_bfloat16_units() is False:
            print_log(
                'This CPU has no bfloat16 units (avx512_bf16, amx_bf16, bf16): mixed precision'
                ' takes longer here than float32, nine times in one measurement. Leave out'
                ' --amp, or the AmpOptimWrapper of the config.',
                'current',
                30,
            )
        self.cast_dtype = getattr(torch, name)
        self._scale_update_param = loss_scale if isinstance(loss_scale, float) else None
        self.loss_scaler = _cpu_scaler(name == 'float16', loss_scale)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under CPU autocast."""
        context = OptimWrapper.optim_context(self, model)
        with context, torch.autocast('cpu', dtype=self.cast_dtype):
            yield

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore; a scale that the checkpoint lacks (of bfloat16, say) starts afresh."""
        if not state_dict.get('loss_scaler'):
            state_dict = {k: v for k, v in state_dict.items() if k != 'loss_scaler'}
        super().load_state_dict(state_dict)


def _cpu_scaler(enabled: bool, loss_scale: LossScale) -> Any:
    """A GradScaler of the CPU; where it is not needed, one that passes everything through."""
    scaler = getattr(torch.amp, 'GradScaler', None)
    if scaler is None and enabled:
        raise ConfigError(
            f"optim_wrapper.dtype='float16' on a CPU needs PyTorch 2.3, and this is"
            f" {torch.__version__}: take dtype='bfloat16'"
        )
    if scaler is None:
        return torch.cuda.amp.GradScaler(enabled=False)
    if not enabled or loss_scale == 'dynamic':
        return scaler('cpu', enabled=enabled)
    settings = loss_scale if isinstance(loss_scale, dict) else dict(init_scale=float(loss_scale))
    return scaler('cpu', **settings)


@OPTIM_WRAPPERS.register_module(name='AmpOptimWrapper')
def amp_optim_wrapper(
    optimizer: torch.optim.Optimizer,
    *,
    loss_scale: LossScale = 'dynamic',
    dtype: str | torch.dtype | None = None,
    accumulative_counts: int = 1,
    clip_grad: dict | None = None,
) -> OptimWrapper:
    """The mixed precision wrapper of the device at hand.

    Stands for MMEngine's ``AmpOptimWrapper``, which refuses to be built on a CPU: the
    same config trains on both.

    Args:
        optimizer: The optimizer.
        loss_scale: For float16: 'dynamic', a number or GradScaler's arguments.
        dtype: 'float16' or 'bfloat16'; None is float16 on a GPU and bfloat16 on a CPU,
            where few have float16's operations.
        accumulative_counts: Steps whose gradients are added up before an update.
        clip_grad: Arguments of gradient clipping.
    """
    common: dict[str, Any] = dict(
        optimizer=optimizer, accumulative_counts=accumulative_counts, clip_grad=clip_grad
    )
    if get_device() == 'cpu':
        return CPUAmpOptimWrapper(loss_scale=loss_scale, dtype=dtype or 'bfloat16', **common)
    return _DeviceAmpOptimWrapper(loss_scale=loss_scale, dtype=dtype, **common)


def shared_once(optim_wrapper: Any) -> Any:
    """The node of an ``optim_wrapper`` by which a parameter that layers share is updated once.

    RTMDet's levels share convolutions. MMEngine puts such a parameter once for each name into
    the groups of ``paramwise_cfg``, which PyTorch refuses, unless ``bypass_duplicate`` is set.
    """
    if not isinstance(optim_wrapper, Mapping) or not optim_wrapper.get('paramwise_cfg'):
        return optim_wrapper
    groups = {'bypass_duplicate': True, **optim_wrapper['paramwise_cfg']}
    kind: Any = type(optim_wrapper)
    return kind({**optim_wrapper, 'paramwise_cfg': groups})
