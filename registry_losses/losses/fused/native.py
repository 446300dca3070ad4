"""The fused pass as a loop in C, compiled when first asked for (the CPU, on request).

Inductor makes two loops and a buffer of the sum and the gradient, with library calls for
exponential and logarithm, three to six times as slow; hence C, which needs the same compiler.

Shapes: R rows, C classes, E entries.
"""

from __future__ import annotations

import ctypes
import functools
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ...ops.native import CompilerMissing, load_library
from .job import SparseJob

SOURCE = Path(__file__).with_suffix('.c')
# As in the source.
BLOCK = 2048
_DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


@functools.cache
def _kernel(dtype: torch.dtype, gamma: float, poly: float) -> Callable[..., None] | None:
    """The compiled loop for these constants; None, and a warning, without a compiler."""
    power = int(gamma) if gamma in (0, 1, 2, 3, 4) else -1
    constants = {
        'GAMMA': f'{float(gamma)!r}f',
        'POLY': f'({float(poly)!r}f)',
        'POWER': str(power),
        'DTYPE': str(_DTYPES[dtype]),
    }
    try:
        function = load_library(SOURCE, constants).power_pass
    except CompilerMissing as error:
        warnings.warn(
            f'compile=True has no effect, the loss runs uncompiled: {error}', stacklevel=2
        )
        return None
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [*[pointer] * 8, integer, integer, ctypes.c_float, ctypes.c_int]
    function.restype = None
    return function


def native_pass(x: Tensor, job: SparseJob, need_grad: bool) -> tuple[Tensor, Tensor | None] | None:
    """The scaled sum of a sparse loss with a power negative, and its gradient.

    Args:
        x: ``(R, C)`` logits on the CPU.
        job: The loss.
        need_grad: Whether to compute the gradient.

    Returns:
        0-d float32 sum, gradient of the shape and dtype of ``x`` or None; or None
        altogether where nothing can be compiled: float64, or a machine without a compiler,
        of which a warning tells once.
    """
    if x.dtype not in _DTYPES:
        return None
    gamma, poly = job.on_negatives.gamma, job.on_negatives.poly  # type: ignore[attr-defined]
    kernel = _kernel(x.dtype, float(gamma), float(poly))
    if kernel is None:
        return None
    x = x.detach().contiguous()
    losses, slopes = job.entries(x, need_grad)
    scale = float(job.scale)
    grad = torch.empty_like(x) if need_grad else None
    # The result must not depend on the number of threads: a sum for each block.
    blocks = -(-x.numel() // BLOCK)
    sums = torch.empty(blocks, dtype=torch.float64, device=x.device)
    entries = job.flat.contiguous() if _is_sorted(job.flat) else job.flat.sort().values
    first = torch.searchsorted(entries, torch.arange(blocks + 1, device=x.device) * BLOCK)
    weights = [
        None if weight is None else weight.detach().float().contiguous()
        for weight in (job.row, job.column, job.full)
    ]
    kernel(
        x.data_ptr(),
        None if grad is None else grad.data_ptr(),
        sums.data_ptr(),
        *(None if weight is None else weight.data_ptr() for weight in weights),
        entries.data_ptr(),
        first.data_ptr(),
        x.numel(),
        x.shape[1],
        scale * job.negative_weight,
        torch.get_num_threads(),
    )
    total = (sums.sum() * job.negative_weight + losses.sum(dtype=torch.float64)) * scale
    if grad is not None and slopes is not None:
        grad.view(-1).index_copy_(0, job.flat, (slopes * scale).to(grad.dtype))
    return total.float(), grad


def _is_sorted(index: Tensor) -> bool:
    return index.numel() < 2 or bool((index[1:] >= index[:-1]).all())
