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

# Bits of sqrt(2) / 2 and of sqrt(2) in float32, and the width of its fraction.
_HALF_ROOT, _ROOT, _FRACTION = 0x3F3504F3, 0x3FB504F3, 23
_LOG2E, _LN2 = 1.4426950408889634, 0.6931471805599453
# ln 2 in two parts: products of the first with small integers are exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
# The polynomials of expf and logf of the Cephes library (S. Moshier).
_EXP = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
_LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)


def exp32(x: Tensor) -> Tensor:
    """``e^x`` of float32 in [-87, 88], to 2 units in the last place.

    Written out because the vector units then work on it without a call.
    """
    n = torch.round(x * _LOG2E)
    f = x - n * _LN2_HIGH - n * _LN2_LOW
    y = f * _EXP[0] + _EXP[1]
    for c in _EXP[2:]:
        y = y * f + c
    y = y * f * f + f + 1.0
    return y * ((n.to(torch.int32) + 127) << _FRACTION).view(torch.float32)


def log1p32(e: Tensor, u: Tensor) -> Tensor:
    """``log(1 + e)`` of float32 e >= 0, given ``u = 1 + e``, to 2 units in the last place."""
    bits = u.view(torch.int32)
    n = (bits - _HALF_ROOT) >> _FRACTION
    m = (bits - (n << _FRACTION)).view(torch.float32) - 1.0
    # Where u is its own mantissa, e has the digits that u has lost.
    m = torch.where(bits < _ROOT, e, m)
    y = m * _LOG[0] + _LOG[1]
    for c in _LOG[2:]:
        y = y * m + c
    square = m * m
    return y * m * square - 0.5 * square + m + n.to(torch.float32) * _LN2


def power_pass(
    x: Tensor,
    row: Tensor | None,
    column: Tensor | None,
    full: Tensor | None,
    scale: Tensor,
    gamma: float,
    need_grad: bool,
) -> tuple[Tensor, Tensor | None]:
    """Row sums of ``p^gamma softplus(x)`` and the gradient.

    Args:
        x: ``(R, C)`` float32, float16 or bfloat16.
        row: ``(R,)`` weights or None.
        column: ``(C,)`` weights or None.
        full: ``(R, C)`` weights or None.
        scale: 0-d, multiplies the gradient.
        gamma: A constant of the kernel.
        need_grad: Likewise.

    Returns:
        ``(R,)`` float32 sums, unscaled, and ``(R, C)`` gradient of the dtype of ``x``.
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
    grad = (q * (p + gamma * s * r) * scale).to(x.dtype) if need_grad else None
    return (q * s).sum(dim=1), grad


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
    """The rows that hold entries, and their sums without those: ``(E',)`` and ``(E',)``.

    Few rows, done once more: taking the entries' negative terms off the kernel's sums
    would lose the digits of the rest to a confident positive.
    """
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
    return rows, loss.sum(dim=1)


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
    scale = torch.as_tensor(job.scale, dtype=torch.float32)
    try:
        sums, grad = _kernel()(
            x,
            job.row,
            job.column,
            job.full,
            scale * job.factor,
            job.negative.gamma,  # type: ignore[attr-defined]
            need_grad,
        )
    except Exception as error:  # Inductor's failures share no base class
        _broken.append(repr(error))
        warnings.warn(f'the loss could not be compiled and runs uncompiled: {error}', stacklevel=2)
        return None
    if job.flat.numel():
        sums.index_copy_(0, *rows_with_entries(x, job))
    total = sums.sum(dtype=torch.float64)
    total = (total * job.factor + losses.sum(dtype=torch.float64)) * scale
    if grad is not None and slopes is not None:
        grad.view(-1).index_copy_(0, job.flat, (slopes * scale).to(grad.dtype))
    return total.float(), grad
