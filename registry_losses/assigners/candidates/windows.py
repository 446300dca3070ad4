"""Windows of cells around gts, in which the nearest priors are searched.

Shapes: G gts, n priors of a level, A priors per cell, P priors of a window, Q gts of all levels
searched together, k nearest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ...ops.device import host_sync_is_free
from ...ops.segments import lowest_k
from ...structures import Level, Priors


@dataclass(frozen=True, eq=False)
class Targets:
    """The position from which each gt measures distances.

    Args:
        image: ``(G,)`` int64.
        centers: ``(G, 2)`` xy pixels.
        scale: ``(G, 2)`` what offsets are divided by; None for 1.
    """

    image: Tensor
    centers: Tensor
    scale: Tensor | None = None

    @property
    def count(self) -> int:
        """G."""
        return self.image.shape[0]

    @staticmethod
    def cat(parts: Sequence['Targets']) -> 'Targets':
        """Several lists of gts in one."""
        scales = [part.scale for part in parts if part.scale is not None]
        return Targets(
            torch.cat([part.image for part in parts]),
            torch.cat([part.centers for part in parts]),
            torch.cat(scales) if scales else None,
        )

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
        priors: Priors that are not ``valid`` are no candidates.
        targets: The gts.
        first: First prior of the level.
        size: Priors of the level, n.
    """

    priors: Priors
    targets: Targets
    first: int
    size: int

    @property
    def count(self) -> int:
        """G."""
        return self.targets.count

    def at(self, index: Tensor) -> 'Search':
        """The same for some of the gts."""
        return Search(self.priors, self.targets.at(index), self.first, self.size)


def level_at(search: Search) -> int | None:
    """The number of the level that is searched; None where the priors are not one level."""
    priors = search.priors
    if priors.per_image:
        return None
    for i, (start, level) in enumerate(zip(priors.level_starts, priors.levels)):
        if start == search.first and level.num_priors == search.size:
            return i
    return None


@lru_cache(maxsize=256)
def window_shape(level: Level, k: int) -> tuple[int, int]:
    """Cells (x, y) of a window that holds the k nearest priors of a centre on the grid.

    A block of a x b cells around the centre holds k priors, none farther than its half
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


@dataclass(frozen=True, eq=False)
class _Grids:
    """The levels of a grid as tables.

    Args:
        floats: ``(5, L)``: stride (x, y), offset, cells (x, y).
        ints: ``(4, L)`` int64: first prior, priors per row of cells, and where in
            ``positions`` the centres' x and y of the level begin.
        positions: Of each level the x of its centres, column by column, then their y, row by
            row; the priors of a cell side by side.
    """

    floats: Tensor
    ints: Tensor
    positions: Tensor

    @staticmethod
    def of(priors: Priors) -> '_Grids':
        """The grids of some priors."""
        floats, ints, positions, total = [], [], [], 0
        for level, first in zip(priors.levels, priors.level_starts):
            floats.append((*level.stride, level.offset, level.width, level.height))
            a = level.num_base
            across, down = level.width * a, level.height * a
            ints.append((first, across, total, total + across))
            total += across + down
            grid = priors.centers[first : first + level.num_priors]
            grid = grid.view(level.height, level.width, a, 2)
            positions += [grid[0, :, :, 0].reshape(-1), grid[:, 0, :, 1].reshape(-1)]
        device = priors.device
        return _Grids(
            torch.tensor(floats, dtype=torch.float32).t().contiguous().to(device),
            torch.tensor(ints).t().contiguous().to(device),
            torch.cat(positions),
        )


def search_windows(
    searches: Sequence[Search], shape: tuple[int, int], k: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The k nearest in a window of cells around each gt of each search, Q in all.

    Inside, the priors of a window are the first dimension and the gts the last, so that
    arithmetic runs on vectors.

    Args:
        searches: Levels with one number of priors per cell, of the same priors.
        shape: Cells (x, y) of the window; see :func:`window_shape`.
        k: How many to find.

    Returns:
        ``(Q, k)`` priors; ``(Q, k)`` bool, which exist; and ``(Q,)`` bool, the gts whose
        window was too small (None: of none).
    """
    priors, targets = searches[0].priors, Targets.cat([search.targets for search in searches])
    numbers = [level_at(search) for search in searches]
    levels = [priors.levels[i] for i in numbers if i is not None]
    grids: _Grids = priors.once('grids', _Grids.of)
    number = torch.tensor(numbers, device=priors.device).repeat_interleave(
        torch.tensor([search.count for search in searches], device=priors.device),
        output_size=targets.count,
    )
    distance, prior_index, bound = _windows(grids, targets, number, shape, levels[0].num_base)
    if priors.valid is not None:
        flat = (prior_index + targets.image * priors.num_priors).reshape(-1)
        valid = priors.valid.reshape(-1).index_select(0, flat).view_as(prior_index)
        distance = torch.where(valid, distance, torch.inf)
    value, index = lowest_k(distance, prior_index, min(k + 1, distance.shape[0]), dim=0)
    exists = torch.isfinite(value[:k]) if priors.valid is not None else torch.ones_like(index[:k])
    failed = None
    if any(shape != (level.width, level.height) for level in levels):
        failed = value[k - 1] >= bound * (1 - 1e-4)
    if host_sync_is_free(priors.device) and levels[0].num_base == 1 and value.shape[0] > k:
        tie = (value[k] == value[k - 1]) & torch.isfinite(value[k - 1])
        failed = tie if failed is None else failed | tie
    return index[:k].t(), exists.bool().t(), failed


def _windows(
    grids: _Grids, targets: Targets, number: Tensor, shape: tuple[int, int], num_base: int
) -> tuple[Tensor, Tensor, Tensor]:
    """A window of cells around each gt, on the level ``number (Q,)``.

    Returns:
        ``(P, Q)`` the distances of its priors; ``(P, Q)`` the priors; and ``(Q,)`` a lower
        bound of the distances of all priors outside the window.
    """
    device = number.device
    floats, ints = grids.floats.index_select(1, number), grids.ints.index_select(1, number)
    bounds, starts, squares = [], [], []
    for axis, count in enumerate(shape):
        center, unit = targets.centers[:, axis], floats[axis]
        at = center / unit - floats[2]
        spare = floats[3 + axis] - count  # cells that the window leaves out
        start = torch.minimum(torch.round(at - (count - 1) / 2).clamp_(min=0), spare)
        if targets.scale is not None:
            unit = unit / targets.scale[:, axis]
        left = torch.where(start > 0, (at - (start - 1)) * unit, torch.inf)
        right = torch.where(start < spare, (start + count - at) * unit, torch.inf)
        bounds += [left, right]
        first = start.long().mul_(num_base)
        local = torch.arange(count * num_base, device=device)[:, None]
        index = (first + ints[2 + axis]) + local  # (count * A, Q)
        offset = grids.positions.index_select(0, index.reshape(-1)).view_as(index).sub_(center)
        if targets.scale is not None:
            offset /= targets.scale[:, axis]
        starts.append(first)
        squares.append(offset.mul_(offset).view(count, num_base, -1))
    distance = (squares[0] + squares[1][:, None]).sqrt_()  # (y, x, A, Q)
    corner = ints[0] + starts[0] + torch.div(starts[1], num_base, rounding_mode='floor') * ints[1]
    rows = corner + torch.arange(shape[1], device=device)[:, None] * ints[1]  # (y, Q)
    prior_index = rows[:, None] + torch.arange(shape[0] * num_base, device=device)[:, None]
    bound = torch.stack(bounds).amin(dim=0)
    return distance.flatten(0, 2), prior_index.flatten(0, 1), bound
