"""The best of many, by segment: keys that order as scores do, ragged top-k.

Shapes: T candidates, S segments, k best of each.
"""

import torch
from torch import Tensor

#: The low half of a key, in which ties are told apart.
LOW_BITS = 0x7FFFFFFF
_HALF = 0xFFFFFFFF
_INT64 = torch.iinfo(torch.int64)

# Rows of a padded matrix hold at most so many places a candidate.
_PADDING = 4


def ordered_key(values: Tensor) -> Tensor:
    """``(...)`` int64 in 32 bits, signed, that order as the float32 ``values`` do."""
    bits = (values.float() + 0.0).view(torch.int32)  # + 0.0 makes -0 equal to 0
    return (bits ^ ((bits >> 31) & LOW_BITS)).long()


def best_key(scores: Tensor, tie: Tensor, *, largest: bool = True) -> Tensor:
    """``(T,)`` int64: a larger key is a better score; of equal scores, a lower ``tie``.

    Args:
        scores: ``(T,)`` float32.
        tie: ``(T,)`` int in [0, 2^31).
        largest: Whether the larger score is the better.
    """
    key = ordered_key(scores if largest else -scores)
    return torch.add(LOW_BITS - tie, key, alpha=1 << 32)


def count_of(index: Tensor, size: int) -> Tensor:
    """``(size,)`` int64, how often each number occurs; unlike ``bincount`` never waits."""
    return index.new_zeros(size).index_add_(0, index, torch.ones_like(index))


def segment_best(
    scores: Tensor, segment: Tensor, tie: Tensor, num_segments: int, *, largest: bool = True
) -> Tensor:
    """Which candidates are the best of their segment.

    Args:
        scores: ``(T,)`` float32.
        segment: ``(T,)`` int64 in [0, S), in any order.
        tie: ``(T,)`` int; among equal scores the lowest wins.
        num_segments: S.
        largest: Whether the larger score is the better.

    Returns:
        ``(T,)`` bool; one a segment where ``tie`` has no doubles within it.
    """
    key = best_key(scores, tie, largest=largest)
    best = key.new_full((num_segments,), _INT64.min).scatter_reduce_(0, segment, key, 'amax')
    return best.index_select(0, segment) == key


def segment_winners(
    segment: Tensor,
    scores: Tensor,
    tie: Tensor,
    num_segments: int,
    *,
    largest: bool = True,
    counts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The best candidate of each segment that has one, for scores that are not negative.

    Waits for the device once.

    Args:
        segment: ``(T,)`` int64 in [0, S), in any order.
        scores: ``(T,)`` float32 >= 0.
        tie: ``(T,)`` int64 in [0, 2^31), which tells the candidates of a segment apart;
            among equal scores the lowest wins.
        num_segments: S.
        largest: False for costs and distances.
        counts: ``(T,)`` bool, which of the T take part; None for all.

    Returns:
        ``(K,)`` int64, the segments with a candidate, ascending; and ``(K,)`` the ``tie``
        of the best of each.
    """
    rank = ordered_key(scores)
    rank = rank if largest else LOW_BITS - rank
    key = torch.add(LOW_BITS - tie, rank, alpha=1 << 32)
    if counts is not None:
        key *= counts
    best = key.new_zeros(num_segments).scatter_reduce_(0, segment, key, 'amax')
    taken = best.nonzero().squeeze(1)  # sync: compact pairs
    return taken, LOW_BITS - (best.index_select(0, taken) & _HALF)


def segment_topk(
    values: Tensor, counts: Tensor, k: int, *, largest: bool = True
) -> tuple[Tensor, Tensor]:
    """Top-k of every segment of a ragged list; segments may be shorter than k.

    The list is copied into a matrix of one row a segment, or into one for every power of
    two where the lengths differ so much that most of it would be padding. Waits for the
    device once, or twice (the lengths).

    Args:
        values: ``(T,)`` float32, segment after segment.
        counts: ``(S,)`` int64, the length of each; they add up to T.
        k: How many to take.
        largest: Whether the largest values are wanted, or the smallest.

    Returns:
        ``(S, k)`` index into ``values``, best first, among equal values the earlier
        first; and ``(S, k)`` bool, which of them exist (the index of others is 0).
    """
    s, t = counts.shape[0], values.shape[0]
    index = counts.new_zeros(s, k)
    if s == 0 or t == 0:
        return index, torch.zeros_like(index, dtype=torch.bool)
    place = torch.arange(t, device=values.device)
    low = LOW_BITS - place if largest else place
    key = torch.add(low, ordered_key(values), alpha=1 << 32)
    starts = counts.cumsum(0) - counts
    widest = int(counts.max())  # sync: the longest segment
    if s * widest <= _PADDING * t:
        shapes, order = [(s, widest)], None
        first = torch.arange(s, device=counts.device) * widest
    else:
        shapes, order, first = _matrices(counts)
    padded = key.new_full((sum(r * w for r, w in shapes),), _INT64.min if largest else _INT64.max)
    to = torch.repeat_interleave(first - starts, counts, output_size=t).add_(place)
    padded.scatter_(0, to, key)
    row = begin = 0
    for rows, width in shapes:
        matrix = padded[begin : begin + rows * width].view(rows, width)
        top = matrix.topk(min(k, width), dim=1, largest=largest).values & _HALF
        top = LOW_BITS - top if largest else top
        here = slice(row, row + rows)
        index[here if order is None else order[here], : top.shape[1]] = top
        row, begin = row + rows, begin + rows * width
    exists = torch.arange(k, device=values.device) < counts[:, None]
    return torch.where(exists, index, 0), exists


def _matrices(counts: Tensor) -> tuple[list[tuple[int, int]], Tensor, Tensor]:
    """Rows and width of one matrix for every power of two.

    Returns:
        The shapes; ``(S,)`` the segments in the order of the matrices' rows; and ``(S,)``
        where in the matrices, laid end to end, each segment's row begins.
    """
    power = torch.ceil(torch.log2(counts.clamp(min=1).double())).long()
    number = torch.bincount(power).tolist()  # sync: how many of each length
    shapes = [(rows, 1 << p) for p, rows in enumerate(number) if rows]
    order = torch.argsort(power, stable=True)
    width = torch.ones_like(power) << power.index_select(0, order)
    first = torch.empty_like(width).index_copy_(0, order, width.cumsum(0) - width)
    return shapes, order, first
