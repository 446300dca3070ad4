"""The best of many, by segment; and the integer keys that make it one pass.

A *key* is an int64 that holds a float32 score in its upper half and a number below 2^31,
which breaks ties, in its lower half. Keys compare as (score, number) pairs do, so that one
``amax`` finds the best score and whose it is, the same on every device and in every run.
All bit arithmetic of the assigners and samplers is here.

Shapes: T candidates, S segments, k best of each.
"""

import torch
from torch import Tensor

_LOW = 0x7FFFFFFF
_HALF = 0xFFFFFFFF
_SHIFT = 1 << 32
_INT64 = torch.iinfo(torch.int64)

#: Below every key: stands for "no candidate".
NO_KEY = _INT64.min
#: Above every key.
HIGHEST_KEY = _INT64.max

# Outranks every score: the bits of no float32 reach it.
_OVERRIDE = 1 << 62

# Rows of a padded matrix hold at most so many places a candidate.
_PADDING = 4


# --- Keys ----------------------------------------------------------------------------


def pack(high: Tensor, low: Tensor) -> Tensor:
    """``high * 2^32 + low``: orders by ``high``, then by ``low``, which is in [0, 2^32)."""
    return torch.add(low, high, alpha=_SHIFT)


def low_half(key: Tensor) -> Tensor:
    """The ``low`` that :func:`pack` was given."""
    return key & _HALF


def float_bits(values: Tensor) -> Tensor:
    """``(...)`` int64 that order as float32 values do that are not negative.

    Double precision is rounded first.
    """
    return values.float().view(torch.int32).long()


def score_of(key: Tensor) -> Tensor:
    """The float32 whose :func:`float_bits` are the upper half of a key."""
    return (key >> 32).int().view(torch.float32)


def ordered_key(values: Tensor) -> Tensor:
    """``(...)`` int64 in 32 bits, signed, that order as any float32 values do."""
    bits = (values.float() + 0.0).view(torch.int32)  # + 0.0 makes -0 equal to 0
    return (bits ^ ((bits >> 31) & _LOW)).long()


def _ordered_value(key: Tensor) -> Tensor:
    """The float32 whose :func:`ordered_key` is the upper half of a key."""
    bits = (key >> 32).int()
    return (bits ^ ((bits >> 31) & _LOW)).view(torch.float32)


def descending_bits(values: Tensor) -> Tensor:
    """Float32 values as int64 in [0, 2^31): the larger the value, the smaller.

    Negative values count as 0. Not a number comes first, as the largest.
    """
    bits = values.detach().float().clamp(min=0).contiguous().view(torch.int32)
    return _LOW - (bits & _LOW).long()


def lowest_key(costs: Tensor, tie: Tensor) -> Tensor:
    """Keys of which the smallest has the lowest cost, of equal ones the lowest ``tie``."""
    return pack(ordered_key(costs), tie)


def split_lowest_key(key: Tensor) -> tuple[Tensor, Tensor]:
    """The float32 costs and the int64 ``tie`` of :func:`lowest_key`."""
    return _ordered_value(key), low_half(key)


def best_key(scores: Tensor, tie: Tensor, *, largest: bool = True) -> Tensor:
    """``(T,)`` int64: a larger key is a better score; of equal scores, a lower ``tie``.

    Args:
        scores: ``(T,)`` float32.
        tie: ``(T,)`` int in [0, 2^31).
        largest: Whether the larger score is the better.
    """
    return pack(ordered_key(scores if largest else -scores), _LOW - tie)


def split_best_key(key: Tensor, *, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The float32 scores and the int64 ``tie`` of :func:`best_key`."""
    scores = _ordered_value(key)
    return scores if largest else -scores, _LOW - low_half(key)


def rank_of(scores: Tensor) -> Tensor:
    """``(T,)`` int64 that order as the scores, which are not negative, with room for ties.

    ``rank - tie`` is the key whose larger value is the better score, then the lower tie.
    """
    return pack(float_bits(scores), torch.full_like(scores, _LOW, dtype=torch.long))


def split_rank(key: Tensor) -> tuple[Tensor, Tensor]:
    """The scores and ties of ``rank_of(scores) - tie``."""
    return score_of(key), _LOW - low_half(key)


def claim_key(
    scores: Tensor, tie: Tensor, claims: Tensor, *, largest: bool = True, signed: bool = True
) -> Tensor:
    """``(T,)`` int64 as :func:`best_key`, and :data:`NO_KEY` (or 0) where there is no claim.

    Args:
        scores: ``(T,)`` float32.
        tie: ``(T,)`` int in [0, 2^31).
        claims: ``(T,)`` bool.
        largest: Whether the larger score is the better.
        signed: False where every score that claims is at least 0, which is faster.
    """
    if signed:
        return torch.where(claims, best_key(scores, tie, largest=largest), NO_KEY)
    rank = float_bits(scores)
    return torch.where(claims, pack(rank if largest else _LOW - rank, _LOW - tie), 0)


def overriding_key(tie: Tensor) -> Tensor:
    """Keys above every :func:`claim_key`; of several the one of the highest ``tie``."""
    return tie + _OVERRIDE


# --- Segments ------------------------------------------------------------------------


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
        ``(T,)`` bool; one a segment where no ``tie`` occurs twice in it.
    """
    key = best_key(scores, tie, largest=largest)
    return key_is_best(key, segment, num_segments)


def key_is_best(key: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """``(T,)`` bool, the keys that are the largest of their segment."""
    best = key.new_full((num_segments,), NO_KEY).scatter_reduce_(0, segment, key, 'amax')
    return best.index_select(0, segment) == key


def segment_max(key: Tensor, segment: Tensor, out: Tensor) -> Tensor:
    """The largest key of each segment, or what ``out (S,)`` holds where that is larger."""
    return out.scatter_reduce_(0, segment, key, 'amax')


def segment_winners(
    segment: Tensor,
    scores: Tensor,
    tie: Tensor,
    num_segments: int,
    *,
    largest: bool = True,
    claims: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The best candidate of each segment that has one, for scores that are not negative.

    Waits for the device once.

    Args:
        segment: ``(T,)`` int64 in [0, S), in any order.
        scores: ``(T,)`` float32 >= 0.
        tie: ``(T,)`` int64 in [0, 2^31), different for all candidates of a segment; among
            equal scores the lowest wins.
        num_segments: S.
        largest: False for costs and distances.
        claims: ``(T,)`` bool, which of the T take part; None for all.

    Returns:
        ``(K,)`` int64, the segments with a candidate, ascending; and ``(K,)`` the ``tie``
        of the best of each.
    """
    rank = ordered_key(scores)
    key = pack(rank if largest else _LOW - rank, _LOW - tie)
    if claims is not None:
        key *= claims
    best = key.new_zeros(num_segments).scatter_reduce_(0, segment, key, 'amax')
    taken = best.nonzero().squeeze(1)  # sync: compact pairs
    return taken, _LOW - low_half(best.index_select(0, taken))


def segment_high(
    values: Tensor, segment: Tensor, num_segments: int, k: int, *, groups: int
) -> tuple[Tensor, Tensor]:
    """K high values of each segment: not always the highest, but found in one pass.

    The candidates are dealt in turn to the groups of their segment, and the k best of the
    groups' largest values are returned.

    Args:
        values: ``(T,)`` float32 >= 0.
        segment: ``(T,)`` int64 in [0, S).
        num_segments: S.
        k: How many, at most ``groups``.
        groups: A power of two.

    Returns:
        ``(S, k)`` index into ``values``, highest first, and the values; 0 where a segment
        has no value above 0 left.
    """
    place = torch.arange(segment.shape[0], device=segment.device)
    key = pack(float_bits(values), place)
    group = (place & (groups - 1)).add_(segment, alpha=groups)
    best = key.new_zeros(num_segments * groups).scatter_reduce_(0, group, key, 'amax')
    top = best.view(-1, groups).topk(k, dim=1).values
    return low_half(top), score_of(top)


def lowest_k(values: Tensor, tie: Tensor, k: int, *, dim: int) -> tuple[Tensor, Tensor]:
    """The k lowest of values that are not negative, and their ``tie``, which breaks ties."""
    key = pack(float_bits(values), tie).topk(k, dim=dim, largest=False).values
    return score_of(key), low_half(key)


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
    key = pack(ordered_key(values), _LOW - place if largest else place)
    starts = counts.cumsum(0) - counts
    widest = int(counts.max())  # sync: the longest segment
    if s * widest <= _PADDING * t:
        shapes, order = [(s, widest)], None
        first = torch.arange(s, device=counts.device) * widest
    else:
        shapes, order, first = _matrices(counts)
    padded = key.new_full((sum(r * w for r, w in shapes),), NO_KEY if largest else HIGHEST_KEY)
    to = torch.repeat_interleave(first - starts, counts, output_size=t).add_(place)
    padded.scatter_(0, to, key)
    row = begin = 0
    for rows, width in shapes:
        matrix = padded[begin : begin + rows * width].view(rows, width)
        top = low_half(matrix.topk(min(k, width), dim=1, largest=largest).values)
        top = _LOW - top if largest else top
        here = slice(row, row + rows)
        index[here if order is None else order[here], : top.shape[1]] = top
        row, begin = row + rows, begin + rows * width
    exists = torch.arange(k, device=values.device) < counts[:, None]
    return torch.where(exists, index, 0), exists


def _matrices(counts: Tensor) -> tuple[list[tuple[int, int]], Tensor, Tensor]:
    """Rows and width of one matrix for every power of two.

    Returns:
        The shapes; ``(S,)`` the segments in the order of the matrices' rows; and ``(S,)``
        where each segment's row begins, the matrices stored one after the other.
    """
    power = torch.ceil(torch.log2(counts.clamp(min=1).double())).long()
    number = torch.bincount(power).tolist()  # sync: how many of each length
    shapes = [(rows, 1 << p) for p, rows in enumerate(number) if rows]
    order = torch.argsort(power, stable=True)
    width = torch.ones_like(power) << power.index_select(0, order)
    first = torch.empty_like(width).index_copy_(0, order, width.cumsum(0) - width)
    return shapes, order, first
