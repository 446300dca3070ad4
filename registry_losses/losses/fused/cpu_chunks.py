"""The fused pass on the CPU: chunks that stay in the cache.

Shapes: R rows, C classes, E entries, n logits of a chunk.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..reduction import in_float
from .job import SparseJob
from .negatives import LOW, Scratch, value_and_gradient

# Logits of a chunk for each thread: smaller chunks lose to the cost of starting an
# operation, larger ones to the cache of a core.
CHUNK = 3 << 15
# Logits looked at to guess how low they are and what the negatives add up to: so many places,
# and so many neighbors at each, which come from memory together.
_SAMPLE = 16
# How many times the rest the entries may be and still leave it its digits when subtracted.
_APART = 16.0
# What the roundings of small elements may add up to, beside the sum, were they all of one sign.
_SLACK = 1e-4


@dataclass(frozen=True)
class _Few:
    """What is known before the pass, from the entries and a sample of the logits.

    Args:
        losses: ``(E,)`` weighted, unscaled losses of the entries.
        slopes: ``(E,)`` their gradients, or None.
        low, high: Least and greatest logit of the sample.
        apart: What the entries would add to the sum if they were negatives.
        size: The same of their absolute values, for weights may be below zero.
        guess: What the sum of all negatives is at least, most likely.
    """

    losses: Tensor
    slopes: Tensor | None
    low: float
    high: float
    apart: float
    size: float
    guess: float

    @classmethod
    def of(cls, x: Tensor, job: SparseJob, need_grad: bool) -> _Few:
        """Look at contiguous logits."""
        flat, e = x.view(-1), job.flat.numel()
        if job.positive_weight is None:
            losses, slopes = job.entries(x, need_grad)
        with _quick(job):
            sample = in_float(_sample(flat))
            low, high = (end.item() for end in sample.aminmax())
            at, end = in_float(flat.index_select(0, job.flat)), e + sample.numel()
            # One call for all: few numbers cost what an operation costs.
            if job.positive_weight is None:
                value, _ = value_and_gradient(job.on_negatives, torch.cat((at, sample)), False)
            else:
                all_few = torch.cat((at, sample, -at))
                value, slope = value_and_gradient(job.on_negatives, all_few, need_grad)
                losses, slopes = job.mirrored(value[end:], None if slope is None else slope[end:])
            weighed = job.weigh_entries(value[:e], x.shape[1]).double()
            apart, size = weighed.sum().item(), weighed.abs().sum().item()
            # Not the mean: an entry in the sample would be most of it.
            guess = value[e:end].median().item() * flat.numel()
        return cls(losses, slopes, low, high, apart, size, guess)


def chunked_pass(
    x: Tensor, job: SparseJob, need_grad: bool, values: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The scaled sum of a sparse loss and its gradient.

    The entries are no negatives. Their terms as such are subtracted from the sum, or, where
    that would cost the rest its digits, masked out of it chunk by chunk.

    Args:
        x: ``(R, C)`` logits on the CPU.
        job: The loss.
        need_grad: Whether to compute the gradient.
        values: ``(R, C)`` float, filled with the scaled element-wise loss if given.

    Returns:
        0-d sum (at least float32), gradient of the shape and dtype of ``x`` or None.
    """
    x = x.detach().contiguous()
    few = _Few.of(x, job, need_grad)
    grad = torch.empty_like(x) if need_grad else None
    scale = float(job.scale)
    factor = scale * job.negative_weight
    slack = x.numel() * job.on_negatives.slack() * abs(factor)
    # Elements that are handed out count each for itself.
    exact = values is not None or x.dtype == torch.float64 or few.high < LOW
    robust, masked = False, few.size > _APART * few.guess
    # Logits so large that e^x overflows, entries that outweigh all else by surprise, and logits
    # that are low but for some without weight are rare enough to start again for.
    while True:
        with _quick(job):
            total = _pass(x, job, grad, values, few, exact, robust, masked)
        if not robust and not math.isfinite(total):
            robust = True
            continue
        rest = total if masked else total - few.apart * factor
        if not masked and values is None and few.size * abs(factor) > _APART * abs(rest):
            masked = True
        elif not exact and slack > _SLACK * abs(rest):
            exact = True
        else:
            break
    if grad is not None and few.slopes is not None:
        grad.view(-1).index_copy_(0, job.flat, (few.slopes * scale).to(grad.dtype))
    if values is not None:
        values.view(-1).index_copy_(0, job.flat, (few.losses * scale).to(values.dtype))
    rest += few.losses.sum(dtype=torch.float64).item() * scale
    return torch.tensor(rest, dtype=in_float(x[:0]).dtype, device=x.device), grad


def _pass(
    x: Tensor,
    job: SparseJob,
    grad: Tensor | None,
    values: Tensor | None,
    few: _Few,
    exact: bool,
    robust: bool,
    masked: bool,
) -> float:
    """The scaled sum over the negatives; fills ``grad`` and ``values``.

    Args:
        x: ``(R, C)`` contiguous logits.
        job: The loss.
        grad: ``(R, C)`` or None.
        values: ``(R, C)`` or None.
        few: What is known of the logits.
        exact: See :class:`Scratch`.
        robust: See :meth:`Negative.chunk`.
        masked: Whether to leave the entries out of the sum.
    """
    rows, classes = x.shape
    step = chunk_rows(rows, classes)
    size = step * classes
    scale = float(job.scale) * job.negative_weight
    wide = in_float(x[:0]).dtype
    # A wrong guess costs time alone: denormal numbers are slow, not false.
    scratch = Scratch.of_size(
        size,
        x.new_empty(0, dtype=wide),
        damp=few.low < job.on_negatives.damped_below(wide),
        exact=exact,
    )
    widen = wide != x.dtype
    if widen:  # half precision is worked on in copies of a chunk
        spare_x, spare_grad = torch.empty_like(scratch.a), torch.empty_like(scratch.a)
    xs = x.view(-1).split(size)
    nothing = [None] * len(xs)
    grads = nothing if grad is None else grad.view(-1).split(size)
    outs = nothing if values is None else values.view(-1).split(size)
    entries = _by_chunk(job.flat, size, len(xs)) if masked else nothing
    weighted = job.row is not None or job.column is not None or job.full is not None
    weigh = None
    collect = _Collector()
    for i, (chunk, slope, out, collect.entries) in enumerate(zip(xs, grads, outs, entries)):
        n = chunk.numel()
        if weighted:
            weigh = functools.partial(_weigh, job=job, classes=classes, start=i * step)
        collect.out = out
        job.on_negatives.chunk(
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
    return collect.total


class _Collector:
    """Adds up the losses of chunks but for those of their entries.

    Args:
        out: Where the losses of the next chunk go, or None.
        entries: The places of its entries, or None.

    Attributes:
        total: The sum so far.
    """

    def __init__(self) -> None:
        self.out: Tensor | None = None
        self.entries: np.ndarray | None = None
        self.total = 0.0

    def __call__(self, loss: Tensor, factor: float) -> None:
        """See :meth:`Negative.chunk`."""
        if self.entries is not None:
            loss.numpy()[self.entries] = 0.0  # a few places: a fifth of what index_fill_ takes
        self.total += loss.sum().item() * factor
        if self.out is not None:
            torch.mul(loss, factor, out=self.out)


def _quick(job: SparseJob) -> contextlib.AbstractContextManager:
    """A mode in which an operation starts sooner, for a loss that needs no autograd."""
    return torch.inference_mode() if job.on_negatives.closed_form else contextlib.nullcontext()


def _sample(flat: Tensor) -> Tensor:
    """A few logits from all over; an odd step meets all classes and anchors."""
    step = flat.numel() // _SAMPLE - 1 | 1
    if step <= _SAMPLE:
        return flat
    return flat.as_strided((_SAMPLE, _SAMPLE), (step, 1), flat.storage_offset()).flatten()


def chunk_rows(rows: int, classes: int) -> int:
    """Rows of a chunk: what the caches hold, and a twelfth of a small input."""
    threads = torch.get_num_threads()
    most = max(1, CHUNK * threads // classes)
    step = min(most, max(-(-rows // 12), (CHUNK // 8) // classes, 1), rows)
    step = -(-rows // -(-rows // step))  # chunks of one size
    # The share of each thread begins where a line of the cache does, of 16 floats.
    whole = 16 * threads
    return -(-step // whole) * whole if step > whole else step


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
