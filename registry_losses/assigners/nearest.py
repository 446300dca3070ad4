"""The k slots nearest to each gt, level by level.

Shapes: G gts, n slots of a level, A slots a cell, P slots of a window, k nearest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..structures import Level, Priors
from .common import block_elements, counting_is_free

# Off the CPU a level up to this size is searched whole: a certificate would cost a wait.
WHOLE_LEVEL = 1024


@dataclass(frozen=True, eq=False)
class Targets:
    """Where each gt looks from.

    Args:
        image: ``(G,)`` int64.
        centers: ``(G, 2)`` xy pixels.
        scale: ``(G, 2)`` what offsets are divided by; None for 1.
    """

    image: Tensor
    centers: Tensor
    scale: Tensor | None = None

    def at(self, index: Tensor | slice) -> 'Targets':
        """Some of the gts."""
        scale = None if self.scale is None else self.scale[index]
        return Targets(self.image[index], self.centers[index], scale)

    def distances(self, points: Tensor) -> Tensor:
        """Distance to ``points (G | 1, P, 2)``: ``(G, P)``, in units of ``scale``."""
        offset = points - self.centers[:, None]
        if self.scale is not None:
            offset = offset / self.scale[:, None]
        return offset.pow(2).sum(dim=-1).sqrt()


@dataclass(frozen=True, eq=False)
class Search:
    """One level to search, for some gts.

    Args:
        priors: Slots that are not ``valid`` are no candidates.
        targets: The gts.
        first: First slot of the level.
        size: Slots of the level, n.
    """

    priors: Priors
    targets: Targets
    first: int
    size: int

    def at(self, index: Tensor) -> 'Search':
        """The same for some of the gts."""
        return Search(self.priors, self.targets.at(index), self.first, self.size)


def nearest_topk(searches: Sequence[Search], k: int) -> list[tuple[Tensor, Tensor]]:
    """The k candidates of each level that are nearest to each gt, nearest first.

    Of equally near slots the lower comes first. But on the CPU, where equal distances
    straddle the k-th place of a level with one slot a cell (or without a grid), the
    choice is that of ``torch.topk`` over the whole level, which established
    implementations call: it is fixed for given distances, and follows no rule that could
    be stated.

    On a grid a window of cells around the gt is searched, and a bound on what lies
    outside certifies the answer; the whole level is read for the few gts it fails for
    (beside padding, far outside the grid, of extreme shape).

    Args:
        searches: The levels.
        k: How many; at most n of a level are returned.

    Returns:
        For each search ``(G, k)`` int64 slots, and ``(G, k)`` bool, False where
        candidates ran out.
    """
    found, failed, doubtful = [], [], []
    for i, search in enumerate(searches):
        level = _level_at(search.priors, search.first, search.size)
        small = search.size <= WHOLE_LEVEL and not counting_is_free(search.priors.device)
        if level is None or small:
            found.append(_search_level(search, min(k, search.size)))
            continue
        index, exists, wrong = _search_window(search, level, min(k, search.size))
        found.append((index, exists))
        if wrong is not None:
            failed.append(wrong)
            doubtful.append(i)
    if failed:
        counts = torch.stack([wrong.sum() for wrong in failed]).tolist()  # sync: windows too small
        for i, wrong, count in zip(doubtful, failed, counts):
            if count:
                again = wrong.nonzero().squeeze(1)  # sync: once a level where there are some
                index, exists = found[i]
                index[again], exists[again] = _search_level(searches[i].at(again), index.shape[1])
    return found


def _search_window(search: Search, level: Level, k: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """The k nearest in a window; ``(G,)`` bool, for whom it was not enough (None: nobody)."""
    priors, targets = search.priors, search.targets
    shape = _window_shape(level, k)
    slots, distance, bound = _window(search, level, shape)
    if priors.valid is not None:
        flat = (targets.image[:, None] * priors.num_priors + slots).reshape(-1)
        valid = priors.valid.reshape(-1).index_select(0, flat).view_as(slots)
        distance = torch.where(valid, distance, torch.inf)
    value, position = _lowest(distance, min(k + 1, slots.shape[1]))
    last = value[:, k - 1]
    failed = None
    if shape != (level.width, level.height):
        failed = last >= bound * (1 - 1e-4)
    if counting_is_free(priors.device) and level.num_base == 1 and value.shape[1] > k:
        tie = (value[:, k] == last) & torch.isfinite(last)
        failed = tie if failed is None else failed | tie
    return slots.gather(1, position[:, :k]), torch.isfinite(value[:, :k]), failed


def _level_at(priors: Priors, first: int, size: int) -> Level | None:
    if priors.per_image:
        return None
    for start, level in zip(priors.level_starts, priors.levels):
        if start == first and level.num_priors == size:
            return level
    return None


@lru_cache(maxsize=256)
def _window_shape(level: Level, k: int) -> tuple[int, int]:
    """Cells (x, y) of a window that holds the k nearest slots of a centre on the grid.

    A block of a x b cells around the centre holds k slots, none farther than its half
    diagonal; the window reaches farther than that on each side.
    """
    cells = math.ceil(k / level.num_base)
    sx, sy = level.stride
    b = min(level.height, max(round(math.sqrt(cells * sx / sy)), 1))
    a = min(level.width, math.ceil(cells / b))
    b = min(level.height, math.ceil(cells / a))
    reach = math.hypot(a * sx, b * sy)  # twice the half diagonal
    across = min(level.width, math.floor(reach / sx) + 1)
    down = min(level.height, math.floor(reach / sy) + 1)
    return across, down


def _window(search: Search, level: Level, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """A window of cells around each gt.

    Returns:
        ``(G, P)`` its slots; ``(G, P)`` their distances; ``(G,)`` a distance that no slot
        outside falls below.
    """
    targets, device = search.targets, search.priors.device
    grid = (level.height, level.width, level.num_base)
    centers = search.priors.centers[search.first : search.first + search.size].view(*grid, 2)
    bound = torch.full_like(targets.centers[:, 0], torch.inf)
    cells, squares = [], []
    for axis, positions in enumerate((centers[0, :, :, 0], centers[:, 0, :, 1])):
        size, count = positions.shape[0], shape[axis]
        center = targets.centers[:, axis]
        at = center / level.stride[axis] - level.offset
        start = torch.round(at - (count - 1) / 2).clamp_(0, size - count)
        unit: float | Tensor = level.stride[axis]
        if targets.scale is not None:
            unit = unit / targets.scale[:, axis]
        left = torch.where(start > 0, (at - (start - 1)) * unit, torch.inf)
        right = torch.where(start < size - count, (start + count - at) * unit, torch.inf)
        bound = torch.minimum(bound, torch.minimum(left, right))
        cell = start.long()[:, None] + torch.arange(count, device=device)  # (G, count)
        offset = positions.contiguous().index_select(0, cell.reshape(-1))
        offset = offset.view(*cell.shape, level.num_base) - center[:, None, None]
        if targets.scale is not None:
            offset = offset / targets.scale[:, axis, None, None]
        cells.append(cell)
        squares.append(offset.pow(2))
    distance = (squares[0][:, None] + squares[1][:, :, None]).sqrt()  # (G, y, x, A)
    base = torch.arange(search.first, search.first + level.num_base, device=device)
    slots = cells[1][:, :, None] * level.width + cells[0][:, None]  # (G, y, x)
    slots = slots[..., None] * level.num_base + base
    return slots.flatten(1), distance.flatten(1), bound


def _lowest(distance: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k lowest of each row, lowest first, of equal ones the earlier first."""
    column = torch.arange(distance.shape[1], device=distance.device)
    # The bits of floats that are not negative order as they do.
    key = (distance.view(torch.int32).long() << 32) | column
    position = key.topk(k, dim=1, largest=False).values & 0xFFFFFFFF
    return distance.gather(1, position), position


def _search_level(search: Search, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest by reading the whole level, a few gts at a time."""
    priors, targets = search.priors, search.targets
    part = slice(search.first, search.first + search.size)
    level = _level_at(priors, search.first, search.size)
    peer_ties = counting_is_free(priors.device) and (level is None or level.num_base == 1)
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
        if peer_ties:
            value, position = distance.topk(k, dim=1, largest=False)
        else:
            value, position = _lowest(distance, k)
        index[rows], exists[rows] = search.first + position, torch.isfinite(value)
    return index, exists
