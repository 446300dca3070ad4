"""The fused pass as one kernel made by ``torch.compile`` (the CPU, on request).

:func:`power_pass` is also what the Triton kernel computes, line by line, in operations
that run anywhere.

Shapes: R rows, C classes.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .fused import SparseJob


def power_pass(
    x: Tensor,
    counted: Tensor,
    row: Tensor,
    column: Tensor | None,
    full: Tensor | None,
    scale: Tensor,
    gamma: float,
    poly: float,
    need_grad: bool,
) -> tuple[Tensor, Tensor | None]:
    """Row sums of ``p^gamma (softplus(x) + poly p)`` and its gradient.

    Args:
        x: ``(R, C)`` float32, float16 or bfloat16.
        counted: ``(R,)`` 1, or 0 for rows whose sum is 0.
        row: ``(R,)`` weights. Never None: without one Inductor works on flattened logits,
            and then sums the rows in a pass of its own.
        column: ``(C,)`` weights or None.
        full: ``(R, C)`` weights or None.
        scale: 0-d, multiplies the gradient.
        gamma: A constant of the kernel.
        poly: Likewise.
        need_grad: Likewise.

    Returns:
        ``(R,)`` float32 sums, unscaled, and ``(R, C)`` gradient of the dtype of ``x``.
    """
    wide = x.float()
    e = torch.exp(wide.clamp(-85.0 / (gamma + 1), 80.0))
    u = 1.0 + e
    s = torch.maximum(torch.log1p(e), wide)
    r = 1.0 / u
    p = e * r
    q = _power(p, wide, s, gamma) * row[:, None]
    if column is not None:
        q = q * column
    if full is not None:
        q = q * full
    slope = q * (p + (gamma * s + (gamma + 1) * poly * p) * r)
    grad = (slope * scale).to(x.dtype) if need_grad else None
    # Row by row: a sum over all in float64 would be a kernel, and a buffer, of its own.
    return (q * (s + poly * p)).sum(dim=1) * counted, grad


def _power(p: Tensor, x: Tensor, s: Tensor, gamma: float) -> Tensor:
    if gamma == 0:
        return torch.ones_like(p)
    if gamma == int(gamma) and gamma <= 4:
        return _integer_power(p, int(gamma))
    return torch.exp((gamma * (x - s)).clamp(min=-85.0))


def _integer_power(p: Tensor, n: int) -> Tensor:
    y = p
    for _ in range(n - 1):
        y = y * p
    return y


@functools.cache
def _kernel() -> Callable:
    """:func:`power_pass`, compiled when first called."""
    try:
        # Multiply-add in one instruction; Inductor forbids it by default.
        return torch.compile(
            power_pass, dynamic=True, options={'cpp.enable_floating_point_contract_flag': 'fast'}
        )
    except RuntimeError:  # a torch that does not know the option
        return torch.compile(power_pass, dynamic=True)


def _constants_stay() -> AbstractContextManager:
    """Keep Python floats constants of the kernel.

    With dynamic shapes Dynamo would make each an input in double precision, in which the
    kernel would then compute.
    """
    import torch._dynamo.config as config

    if not hasattr(config, 'specialize_float'):  # as old versions do anyway
        return contextlib.nullcontext()
    return config.patch(specialize_float=True)  # type: ignore[attr-defined]


_broken: list[str] = []


def rows_with_entries(x: Tensor, job: SparseJob) -> tuple[Tensor, Tensor]:
    """``(R,)`` 0 for the rows that hold entries, else 1; the sum of those without them.

    Few rows, worked out apart: taking the entries' negative terms off the kernel's sum
    would lose the digits of the rest to a confident positive.
    """
    counted = x.new_ones(x.shape[0], dtype=torch.float32)
    if job.flat.numel() == 0:
        return counted, counted.new_zeros((), dtype=torch.float64)
    classes = x.shape[1]
    row_of_entry = torch.div(job.flat, classes, rounding_mode='floor')
    rows, place = torch.unique(row_of_entry, return_inverse=True)
    loss = job.negative(x.index_select(0, rows).float())
    if job.row is not None:
        loss = loss * job.row.index_select(0, rows)[:, None]
    if job.column is not None:
        loss = loss * job.column
    if job.full is not None:
        loss = loss * job.full.index_select(0, rows)
    loss[place, job.flat - row_of_entry * classes] = 0
    return counted.index_fill_(0, rows, 0.0), loss.sum(dtype=torch.float64)


def compiled_pass(
    x: Tensor, job: SparseJob, need_grad: bool
) -> tuple[Tensor, Tensor | None] | None:
    """The scaled sum and gradient; None where nothing can be compiled.

    That is float64, rows too short for the vector units, or a machine without a
    compiler, of which a warning tells once.
    """
    if _broken or x.dtype == torch.float64 or x.shape[1] < 8:
        return None
    x = x.detach().contiguous()
    losses, slopes = job.entries(x, need_grad)
    counted, apart = rows_with_entries(x, job)
    scale = torch.as_tensor(job.scale, dtype=torch.float32)
    try:
        with _constants_stay():
            sums, grad = _kernel()(
                x,
                counted,
                x.new_ones(x.shape[0], dtype=torch.float32) if job.row is None else job.row,
                job.column,
                job.full,
                scale * job.factor,
                job.negative.gamma,  # type: ignore[attr-defined]
                job.negative.poly,  # type: ignore[attr-defined]
                need_grad,
            )
    except Exception as error:  # Inductor's failures share no base class
        _broken.append(repr(error))
        warnings.warn(f'the loss could not be compiled and runs uncompiled: {error}', stacklevel=2)
        return None
    total = sums.sum(dtype=torch.float64) + apart
    total = (total * job.factor + losses.sum(dtype=torch.float64)) * scale
    if grad is not None and slopes is not None:
        grad.view(-1).index_copy_(0, job.flat, (slopes * scale).to(grad.dtype))
    return total.float(), grad
