"""The kernels of :mod:`.triton`; importing this module imports Triton.

Shapes: C classes; flat indices over ``(R * C)``.
"""

import triton
import triton.language as tl


@triton.jit
def power_kernel(
    x_ptr,
    grad_ptr,
    sum_ptr,
    label_ptr,
    row_ptr,
    column_ptr,
    full_ptr,
    scale_ptr,
    size,
    C: tl.constexpr,
    GAMMA: tl.constexpr,
    POLY: tl.constexpr,
    NEED_GRAD: tl.constexpr,
    HAS_LABEL: tl.constexpr,
    HAS_ROW: tl.constexpr,
    HAS_COLUMN: tl.constexpr,
    HAS_FULL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sum a block of weighted ``p^gamma (softplus(x) + poly p)`` and write its gradient."""
    block = tl.program_id(0)
    at = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    x = tl.load(x_ptr + at, mask=inside, other=-1e4).to(tl.float32)
    row = at // C
    e = tl.exp(tl.minimum(tl.maximum(x, -85.0 / (GAMMA + 1.0)), 80.0))
    u = 1.0 + e
    # log(u) lacks the digits of e that 1 + e has dropped; put them back.
    s = tl.maximum(tl.log(u) + (e - (u - 1.0)) / u, x)
    r = 1.0 / u
    p = e * r
    if GAMMA == 0.0:
        q = tl.full([BLOCK], 1.0, tl.float32)
    elif GAMMA == 1.0:
        q = p
    elif GAMMA == 2.0:
        q = p * p
    elif GAMMA == 3.0:
        q = p * p * p
    elif GAMMA == 4.0:
        q = (p * p) * (p * p)
    else:
        q = tl.exp(tl.maximum(GAMMA * (x - s), -85.0))
    if HAS_ROW:
        q = q * tl.load(row_ptr + row, mask=inside, other=0.0)
    if HAS_COLUMN:
        q = q * tl.load(column_ptr + (at - row * C), mask=inside, other=0.0)
    if HAS_FULL:
        q = q * tl.load(full_ptr + at, mask=inside, other=0.0)
    value = tl.where(inside, q * (s + POLY * p), 0.0)
    if HAS_LABEL:
        label = tl.load(label_ptr + row, mask=inside, other=-1)
        value = tl.where(label == (at - row * C), 0.0, value)
    tl.store(sum_ptr + block, tl.sum(value, axis=0))
    if NEED_GRAD:
        slope = q * (p + (GAMMA * s + (GAMMA + 1.0) * POLY * p) * r)
        grad = slope * tl.load(scale_ptr)
        tl.store(grad_ptr + at, grad.to(grad_ptr.dtype.element_ty), mask=inside)


@triton.jit
def scale_kernel(grad_ptr, factor_ptr, size, BLOCK: tl.constexpr):
    """Multiply a gradient by a factor, unless that is 1."""
    factor = tl.load(factor_ptr)
    # The factor of an unscaled backward pass is 1: nothing is read then.
    if factor != 1.0:
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = at < size
        grad = tl.load(grad_ptr + at, mask=inside).to(tl.float32) * factor
        tl.store(grad_ptr + at, grad.to(grad_ptr.dtype.element_ty), mask=inside)
