"""The k priors nearest to each gt, level by level.

Shapes: G gts, n priors of a level, A priors per cell, P priors of a window, k nearest.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from ...ops.device import block_elements, host_sync_is_free
from ...ops.segments import lowest_k
from .windows import Search, level_at, search_windows, window_shape

# Off the CPU a level up to this size is searched whole: to check that a window was large
# enough would cost a host sync.
WHOLE_LEVEL = 1024


def nearest_topk(searches: Sequence[Search], k: int) -> list[tuple[Tensor, Tensor]]:
    """The k candidates of each level that are nearest to each gt, nearest first.

    Of equally near priors the lower comes first. But on the CPU, where equal distances
    straddle the k-th place of a level with one prior per cell (or without a grid), the
    choice is that of ``torch.topk`` over the whole level, which established
    implementations call: it is fixed for given distances, and follows no rule that could
    be stated.

    On a grid a window of cells around the gt is searched, on all levels that have the
    same window at once, and a bound on what lies outside shows that nothing nearer is
    missed. For the few gts where it does not show that (next to padding, far outside the
    grid, of extreme shape) the whole level is read.

    Args:
        searches: The levels.
        k: How many; at most n of a level are returned.

    Returns:
        For each search ``(G, k)`` int64 priors, and ``(G, k)`` bool, False where
        candidates ran out.
    """
    found: list[tuple[Tensor, Tensor]] = [None] * len(searches)  # type: ignore[list-item]
    failed: dict[int, Tensor] = {}
    groups: dict[tuple, list[int]] = defaultdict(list)
    for i, search in enumerate(searches):
        number = level_at(search)
        small = search.size <= WHOLE_LEVEL and not host_sync_is_free(search.priors.device)
        most = min(k, search.size)
        if number is None or small:
            found[i] = _search_level(search, most)
            continue
        level = search.priors.levels[number]
        key = (id(search.priors), window_shape(level, most), level.num_base, most)
        groups[key].append(i)
    for (_, shape, _, most), members in groups.items():
        some = [searches[i] for i in members]
        *answer, wrong = search_windows(some, shape, most)
        for i, *part in zip(members, *(whole.split([s.count for s in some]) for whole in answer)):
            found[i] = (part[0], part[1])
        if wrong is not None:
            failed.update(zip(members, wrong.split([s.count for s in some])))
    if failed:
        # sync: windows too small
        counts = torch.stack([wrong.sum() for wrong in failed.values()]).tolist()
        for (i, wrong), count in zip(failed.items(), counts):
            if count:
                again = wrong.nonzero().squeeze(1)  # sync: once a level where there are some
                index, exists = found[i]
                index[again], exists[again] = _search_level(searches[i].at(again), index.shape[1])
    return found


def _lowest(distance: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k lowest of each row, lowest first, of equal ones the earlier first."""
    column = torch.arange(distance.shape[1], device=distance.device)
    return lowest_k(distance, column, k, dim=1)


def _search_level(search: Search, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest by reading the whole level, a few gts at a time."""
    priors, targets = search.priors, search.targets
    part = slice(search.first, search.first + search.size)
    number = level_at(search)
    one_a_cell = number is None or priors.levels[number].num_base == 1
    ties_as_topk = host_sync_is_free(priors.device) and one_a_cell
    count = targets.image.shape[0]
    index = torch.zeros(count, k, dtype=torch.long, device=priors.device)
    exists = torch.zeros_like(index, dtype=torch.bool)
    step = max(block_elements(priors.device) // max(search.size, 1), 1)
    for start in range(0, count, step):
        rows = slice(start, start + step)
        block = targets.at(rows)
        points = priors.centers[..., part, :]
        points = points[block.image] if priors.per_image else points[None]
        distance = block.distances(points)  # (g, n)
        if priors.valid is not None:
            distance = torch.where(priors.valid[block.image, part], distance, torch.inf)
        if ties_as_topk:
            value, position = distance.topk(k, dim=1, largest=False)
        else:
            value, position = _lowest(distance, k)
        index[rows], exists[rows] = search.first + position, torch.isfinite(value)
    return index, exists
