"""The fused pass as a Triton kernel (CUDA).

Triton is imported when a CUDA tensor first asks for it, never before.

Shapes: R rows, C classes.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from types import ModuleType

import torch
from torch import Tensor

from .job import SparseJob

# Elements a program handles; sums of that many float32 are exact enough to be added up
# in float64.
BLOCK = 2048


def available() -> bool:
    """Whether Triton can be imported."""
    return importlib.util.find_spec('triton') is not None


@functools.cache
def _kernels() -> ModuleType:
    """The kernels: the one place where Triton, which is optional, is imported."""
    return importlib.import_module('.triton_kernels', __package__)


def first_labels(x: Tensor, flat: Tensor) -> tuple[Tensor, Tensor]:
    """One entry of each row, for the kernel to leave out of its sum.

    Returns:
        ``(R,)`` int32 class or -1; ``(E,)`` bool, which entries these are.
    """
    classes = x.shape[1]
    rows = torch.div(flat, classes, rounding_mode='floor')
    of_entry = (flat - rows * classes).int()
    label = torch.full((x.shape[0],), -1, dtype=torch.int32, device=x.device)
    label.index_copy_(0, rows, of_entry)
    return label, label.index_select(0, rows) == of_entry


def further_entries(x: Tensor, job: SparseJob, masked: Tensor) -> Tensor:
    """What the other entries of these rows add to the kernel's sum, to be taken off."""
    loss = job.on_negatives(x.detach().reshape(-1).index_select(0, job.flat).float())
    loss = job.weigh_entries(loss, x.shape[1])
    return torch.where(masked, 0.0, loss).sum(dtype=torch.float64)


def negatives_pass(
    x: Tensor,
    label: Tensor | None,
    row: Tensor | None,
    column: Tensor | None,
    full: Tensor | None,
    scale: Tensor,
    gamma: float,
    poly: float,
    need_grad: bool,
) -> tuple[Tensor, Tensor | None]:
    """Sums of ``p^gamma (softplus(x) + poly p)`` over blocks, and its gradient.

    Args:
        x: ``(R, C)`` float32, float16 or bfloat16.
        label: ``(R,)`` int32, a class of each row to leave out of the sums, or -1; or None.
        row: ``(R,)`` weights or None.
        column: ``(C,)`` weights or None.
        full: ``(R, C)`` weights or None.
        scale: 0-d, multiplies the gradient.
        gamma: A constant of the kernel.
        poly: Likewise.
        need_grad: Likewise.

    Returns:
        Float32 sums of blocks, unscaled, and ``(R, C)`` gradient of the dtype of ``x``.
    """
    size = x.numel()
    blocks = (size + BLOCK - 1) // BLOCK
    sums = torch.empty(blocks, dtype=torch.float32, device=x.device)
    grad = torch.empty_like(x) if need_grad else None
    unused = sums

    def pointer(tensor: Tensor | None, dtype: torch.dtype = torch.float32) -> Tensor:
        return unused if tensor is None else tensor.to(dtype).contiguous()

    _kernels().power_kernel[(blocks,)](
        x,
        unused if grad is None else grad,
        sums,
        pointer(label, torch.int32),
        pointer(row),
        pointer(column),
        pointer(full),
        scale.float().contiguous(),
        size,
        C=x.shape[1],
        GAMMA=float(gamma),
        POLY=float(poly),
        NEED_GRAD=need_grad,
        HAS_LABEL=label is not None,
        HAS_ROW=row is not None,
        HAS_COLUMN=column is not None,
        HAS_FULL=full is not None,
        BLOCK=BLOCK,
        num_warps=8,
    )
    return sums, grad


def triton_pass(x: Tensor, job: SparseJob, need_grad: bool) -> tuple[Tensor, Tensor | None]:
    """The scaled sum of a sparse loss and its gradient; never waits for the device."""
    x = x.detach().contiguous()
    losses, slopes = job.entries(x, need_grad)
    label = masked = None
    if job.flat.numel():
        label, masked = first_labels(x, job.flat)
    scale = job.scale
    if not isinstance(scale, Tensor):
        scale = torch.full((), scale, device=x.device)
    sums, grad = negatives_pass(
        x,
        label,
        job.row,
        job.column,
        job.full,
        scale * job.negative_weight,
        job.on_negatives.gamma,  # type: ignore[attr-defined]
        job.on_negatives.poly,  # type: ignore[attr-defined]
        need_grad,
    )
    total = sums.sum(dtype=torch.float64)
    if masked is not None:
        total = total - further_entries(x, job, masked)
    total = (total * job.negative_weight + losses.sum(dtype=torch.float64)) * scale
    if grad is not None and slopes is not None:
        grad.view(-1).index_copy_(0, job.flat, (slopes * scale).to(grad.dtype))
    return total.float(), grad


def scale_in_place(grad: Tensor, factor: Tensor) -> Tensor:
    """Multiply a gradient by a 0-d factor on the device; free where that is 1."""
    size = grad.numel()
    _kernels().scale_kernel[((size + BLOCK - 1) // BLOCK,)](
        grad, factor.float().contiguous(), size, BLOCK=BLOCK, num_warps=4
    )
    return grad
