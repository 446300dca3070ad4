"""The fused pass as one kernel made by ``torch.compile`` (the CPU, on request).

:func:`power_pass` is also what the Triton kernel computes, line by line, in operations
that run anywhere.

Shapes: R rows, C classes.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .fused import SparseJob

# Bits of sqrt(2) / 2, of sqrt(2) and of 1 in float32, and the width of its fraction.
_HALF_ROOT, _ROOT, _ONE, _FRACTION = 0x3F3504F3, 0x3FB504F3, 0x3F800000, 23
_LOG2E, _LN2 = 1.4426950408889634, 0.6931471805599453
# Adding and taking off 3 * 2^22 rounds a float32 to an integer, which then stands in its
# lowest bits.
_ROUNDER = 12582912.0
# The polynomials of exp2f and logf of the Cephes library (S. Moshier).
_EXP2 = (
    1.535336188319500e-4,
    1.339887440266574e-3,
    9.618437357674640e-3,
    5.550332471162809e-2,
    2.402264791363012e-1,
    6.931472028550421e-1,
    1.0,
)
_LOG = (
    3.3333331174e-1,
    -2.4999993993e-1,
    2.0000714765e-1,
    -1.6668057665e-1,
    1.4249322787e-1,
    -1.2420140846e-1,
    1.1676998740e-1,
    -1.1514610310e-1,
    7.0376836292e-2,
)


def exp32(x: Tensor) -> Tensor:
    """``e^x`` of float32 in [-87, 88], as exact as x is.

    Written out because the vector units then work on it without a call.
    """
    y = x * _LOG2E
    rounded = y + _ROUNDER
    f = y - (rounded - _ROUNDER)
    power = f * _EXP2[0] + _EXP2[1]
    for c in _EXP2[2:]:
        power = power * f + c
    exponent = (rounded.view(torch.int32) << _FRACTION) + _ONE
    return power * exponent.view(torch.float32)


def log1p32(e: Tensor, u: Tensor) -> Tensor:
    """``log(1 + e)`` of float32 e >= 0, given ``u = 1 + e``, to 2 units in the last place."""
    bits = u.view(torch.int32)
    n = (bits - _HALF_ROOT) >> _FRACTION
    m = (bits - (n << _FRACTION)).view(torch.float32) - 1.0
    # Where u is its own mantissa, e has the digits that u has lost.
    m = torch.where(bits < _ROOT, e, m)
    c, m2 = _LOG, m * m
    m4 = m2 * m2
    # Estrin's order: short chains of dependent operations.
    y = (c[0] + c[1] * m) + (c[2] + c[3] * m) * m2
    y = y + ((c[4] + c[5] * m) + (c[6] + c[7] * m) * m2) * m4 + c[8] * (m4 * m4)
    return m - 0.5 * m2 + y * m * m2 + n.to(torch.float32) * _LN2


def power_pass(
    x: Tensor,
    counted: Tensor,
    row: Tensor | None,
    column: Tensor | None,
    full: Tensor | None,
    scale: Tensor,
    gamma: float,
    poly: float,
    need_grad: bool,
) -> tuple[Tensor, Tensor | None]:
    """The sum of ``p^gamma (softplus(x) + poly p)`` and its gradient.

    Args:
        x: ``(R, C)`` float32, float16 or bfloat16.
        counted: ``(R,)`` 1, or 0 for rows that are not part of the sum.
        row: ``(R,)`` weights or None.
        column: ``(C,)`` weights or None.
        full: ``(R, C)`` weights or None.
        scale: 0-d, multiplies the gradient.
        gamma: A constant of the kernel.
        poly: Likewise.
        need_grad: Likewise.

    Returns:
        0-d float64 sum, unscaled, and ``(R, C)`` gradient of the dtype of ``x``.
    """
    wide = x.float()
    e = exp32(wide.clamp(-85.0 / (gamma + 1), 80.0))
    u = 1.0 + e
    s = torch.maximum(log1p32(e, u), wide)
    r = 1.0 / u
    p = e * r
    q = _power(p, wide, s, gamma)
    if row is not None:
        q = q * row[:, None]
    if column is not None:
        q = q * column
    if full is not None:
        q = q * full
    slope = q * (p + (gamma * s + (gamma + 1) * poly * p) * r)
    grad = (slope * scale).to(x.dtype) if need_grad else None
    return (q * (s + poly * p) * counted[:, None]).sum(dtype=torch.float64), grad


def _power(p: Tensor, x: Tensor, s: Tensor, gamma: float) -> Tensor:
    if gamma == 0:
        return torch.ones_like(p)
    if gamma == int(gamma) and gamma <= 4:
        return _integer_power(p, int(gamma))
    return exp32((gamma * (x - s)).clamp(min=-85.0))


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
        total, grad = _kernel()(
            x,
            counted,
            job.row,
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
    total = total + apart
    total = (total * job.factor + losses.sum(dtype=torch.float64)) * scale
    if grad is not None and slopes is not None:
        grad.view(-1).index_copy_(0, job.flat, (slopes * scale).to(grad.dtype))
    return total.float(), grad
