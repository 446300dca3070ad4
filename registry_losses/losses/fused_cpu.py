"""The fused pass on the CPU: chunks that stay in the cache.

Shapes: R rows, C classes, E entries, n logits of a chunk.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..ops.pages import empty_like
from .negatives import Scratch
from .reduction import in_float

if TYPE_CHECKING:
    from .fused import SparseJob

# Logits of a chunk for each thread: smaller chunks lose to the cost of starting an
# operation, larger ones to the cache of a core.
CHUNK = 3 << 15
# Logits looked at to guess whether any is very low, or all are low.
_SAMPLE = 1024
# e^x below this would show the rounding of 1 + e^x in the fifth digit.
_LOW = -5.0


def chunked_pass(
    x: Tensor, job: SparseJob, need_grad: bool, values: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The scaled sum of a sparse loss and its gradient.

    Args:
        x: ``(R, C)`` logits on the CPU.
        job: The loss.
        need_grad: Whether to compute the gradient.
        values: ``(R, C)`` float, filled with the scaled element-wise loss if given.

    Returns:
        0-d sum (at least float32), gradient of the shape and dtype of ``x`` or None.
    """
    x = x.detach().contiguous()
    losses, slopes = job.entries(x, need_grad)
    grad = empty_like(x) if need_grad else None
    for robust in (False, True):
        total = _pass(x, job, grad, values, robust)
        # Logits so large that e^x overflows are rare enough to start again for.
        if torch.isfinite(total):
            break
    scale = float(job.scale)
    if grad is not None and slopes is not None:
        grad.view(-1).index_copy_(0, job.flat, (slopes * scale).to(grad.dtype))
    if values is not None:
        values.view(-1).index_copy_(0, job.flat, (losses * scale).to(values.dtype))
    total = total + losses.sum(dtype=torch.float64) * scale
    return total.to(in_float(x[:0]).dtype), grad


def _pass(
    x: Tensor, job: SparseJob, grad: Tensor | None, values: Tensor | None, robust: bool
) -> Tensor:
    """The scaled sum over the negatives, float64; fills ``grad`` and ``values``."""
    rows, classes = x.shape
    step = chunk_rows(rows, classes)
    size = step * classes
    scale = float(job.scale) * job.factor
    wide = in_float(x[:0]).dtype
    # A wrong guess costs time alone: denormal numbers are slow, not false.
    sample = x.view(-1)[:: max(1, x.numel() // _SAMPLE)]
    least, most = (float(end) for end in sample.aminmax())
    scratch = Scratch.of_size(
        size,
        x.new_empty(0, dtype=wide),
        damp=least < job.negative.damped_below(wide),
        # Elements that are handed out count each for itself.
        exact=values is not None or wide == torch.float64 or most < _LOW,
    )
    widen = wide != x.dtype
    # Half precision is worked on in copies of a chunk.
    spare_x, spare_grad = (torch.empty_like(scratch.a[: None if widen else 0]) for _ in range(2))
    xs = x.view(-1).split(size)
    nothing = [None] * len(xs)
    grads = nothing if grad is None else grad.view(-1).split(size)
    outs = nothing if values is None else values.view(-1).split(size)
    weighted = job.row is not None or job.column is not None or job.full is not None
    weigh = None
    collect = _Collector()
    for i, (chunk, slope, out, entries) in enumerate(
        zip(xs, grads, outs, _by_chunk(job.flat, size, len(xs)))
    ):
        n = chunk.numel()
        if weighted:
            weigh = functools.partial(_weigh, job=job, classes=classes, start=i * step)
        collect.out, collect.entries = out, entries
        job.negative.chunk(
            spare_x[:n].copy_(chunk) if widen else chunk,
            weigh,
            collect,
            scratch.head(n),
            spare_grad[:n] if widen and slope is not None else slope,
            scale,
            robust,
        )
        if widen and slope is not None:
            slope.copy_(spare_grad[:n])
    return collect.total()


class _Collector:
    """Adds up the losses of chunks but for those of their entries.

    Args:
        out: Where the losses of the next chunk go, or None.
        entries: The places of its entries, or None.
    """

    def __init__(self) -> None:
        self.out: Tensor | None = None
        self.entries: np.ndarray | None = None
        self.factor = 1.0
        self.sums: list[Tensor] = []

    def __call__(self, loss: Tensor, factor: float) -> None:
        """See :meth:`Negative.chunk`; the factor is the same for all chunks."""
        if self.entries is not None:
            loss.numpy()[self.entries] = 0.0  # a few places: a fifth of what index_fill_ takes
        self.sums.append(loss.sum())
        self.factor = factor
        if self.out is not None:
            torch.mul(loss, factor, out=self.out)

    def total(self) -> Tensor:
        """The sum, float64."""
        return torch.stack(self.sums).sum(dtype=torch.float64) * self.factor


def chunk_rows(rows: int, classes: int) -> int:
    """Rows of a chunk: what the caches hold, and a twelfth of a small input."""
    threads = torch.get_num_threads()
    most = max(1, CHUNK * threads // classes)
    step = min(most, max(-(-rows // 12), (CHUNK // 8) // classes, 1), rows)
    # The share of each thread begins where a line of the cache does, of 16 floats.
    whole = 16 * threads
    return step - step % whole if step > whole else step


def _by_chunk(flat: Tensor, size: int, count: int) -> list[np.ndarray | None]:
    """The entries of each chunk, counted from its start; None where there are none."""
    if flat.numel() == 0:
        return [None] * count
    places = np.sort(flat.numpy(), kind='stable')  # mostly sorted already
    edges = np.searchsorted(places, np.arange(count + 1) * size).tolist()
    places = places % size
    return [places[a:b] if a < b else None for a, b in itertools.pairwise(edges)]


def _weigh(q: Tensor, job: SparseJob, classes: int, start: int) -> Tensor:
    """Multiply a chunk that begins at row ``start`` by its weights."""
    for name in ('row', 'column', 'full'):
        weight = getattr(job, name)
        if weight is None:
            continue
        matrix = q.view(-1, classes)
        if name == 'row':
            weight = weight[start : start + matrix.shape[0], None]
        elif name == 'full':
            weight = weight[start : start + matrix.shape[0]]
        matrix.mul_(weight)
    return q
