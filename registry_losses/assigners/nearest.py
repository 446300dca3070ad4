"""The k slots nearest to each gt, level by level.

Shapes: G gts, n slots of a level, A slots a cell, P slots of a window, k nearest.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..structures import Level, Priors
from .common import block_elements, ordered_key

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

    def at(self, index: Tensor) -> 'Targets':
        """Some of the gts."""
        scale = None if self.scale is None else self.scale[index]
        return Targets(self.image[index], self.centers[index], scale)

    def distances(self, points: Tensor) -> Tensor:
        """Distance to ``points (G | 1, P, 2)``: ``(G, P)``, in units of ``scale``."""
        offset = points - self.centers[:, None]
        if self.scale is not None:
            offset = offset / self.scale[:, None]
        return offset.pow(2).sum(dim=-1).sqrt()


def nearest_topk(priors: Priors, targets: Targets, first: int, size: int, k: int) -> tuple:
    """The k candidates of one level that are nearest to each gt, nearest first.

    Of equally near slots the lower comes first. But on the CPU, where equal distances
    straddle the k-th place of a level with one slot a cell, the choice is that of
    ``torch.topk`` over the whole level, which established implementations call: it is
    fixed for given distances, and follows no rule that could be stated.

    On a grid a window of cells around the gt is searched, and a bound on what lies
    outside certifies the answer; the whole level is read for the few gts it fails for
    (beside padding, far outside the grid, of extreme shape).

    Args:
        priors: Slots that are not ``valid`` are no candidates.
        targets: The gts.
        first: First slot of the level.
        size: Slots of the level, n.
        k: How many; at most n are returned.

    Returns:
        ``(G, k)`` int64 slots, and ``(G, k)`` bool, False where candidates ran out.
    """
    k = min(k, size)
    level = _level_at(priors, first, size)
    whole = size <= WHOLE_LEVEL and priors.device.type != 'cpu'
    if level is None or whole:
        return _search_level(priors, targets, first, size, k)
    window = _window_shape(level, k)
    slots, bound = _window(level, first, targets, window)
    flat = slots.reshape(-1)
    points = priors.centers.index_select(0, flat).view(*slots.shape, 2)
    distance = targets.distances(points)
    if priors.valid is not None:
        valid = priors.valid[targets.image[:, None], slots]
        distance = torch.where(valid, distance, torch.inf)
    value, position = _lowest(distance, min(k + 1, slots.shape[1]))
    last = value[:, k - 1]
    failed = last >= bound * (1 - 1e-4)
    if window[0] * window[1] * level.num_base == size:
        failed = torch.zeros_like(failed)
    if priors.device.type == 'cpu' and level.num_base == 1 and value.shape[1] > k:
        failed |= (value[:, k] == last) & torch.isfinite(last)
    index, exists = slots.gather(1, position[:, :k]), torch.isfinite(value[:, :k])
    if priors.device.type == 'cpu' or priors.valid is not None or size > WHOLE_LEVEL:
        again = failed.nonzero().squeeze(1)  # sync: gts whose window was not enough
        if again.numel():
            index[again], exists[again] = _search_level(priors, targets.at(again), first, size, k)
    return index, exists


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


def _window(
    level: Level, first: int, targets: Targets, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """``(G, P)`` slots of a window around each gt; ``(G,)`` distance of the nearest outside."""
    device = targets.centers.device
    bound = torch.full_like(targets.centers[:, 0], torch.inf)
    low = []
    for axis, (cells, count) in enumerate(zip((level.width, level.height), shape)):
        at = targets.centers[:, axis] / level.stride[axis] - level.offset
        start = torch.round(at - (count - 1) / 2).clamp_(0, cells - count)
        unit: float | Tensor = level.stride[axis]
        if targets.scale is not None:
            unit = unit / targets.scale[:, axis]
        left = torch.where(start > 0, (at - (start - 1)) * unit, torch.inf)
        right = torch.where(start < cells - count, (start + count - at) * unit, torch.inf)
        bound = torch.minimum(bound, torch.minimum(left, right))
        low.append(start.long())
    across = torch.arange(shape[0] * level.num_base, device=device)
    down = torch.arange(shape[1], device=device) * (level.width * level.num_base)
    local = (down[:, None] + across).reshape(-1)
    corner = first + (low[1] * level.width + low[0]) * level.num_base
    return corner[:, None] + local, bound


def _lowest(distance: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k lowest of each row, lowest first, of equal ones the earlier first."""
    column = torch.arange(distance.shape[1], device=distance.device)
    key = (ordered_key(distance) << 32) | column
    position = key.topk(k, dim=1, largest=False).values & 0xFFFFFFFF
    return distance.gather(1, position), position


def _search_level(priors: Priors, targets: Targets, first: int, size: int, k: int) -> tuple:
    """The k nearest by reading the whole level, a few gts at a time."""
    part = slice(first, first + size)
    index = torch.zeros(targets.image.shape[0], k, dtype=torch.long, device=priors.device)
    exists = torch.zeros_like(index, dtype=torch.bool)
    step = max(block_elements(priors.device) // max(size, 1), 1)
    for start in range(0, targets.image.shape[0], step):
        rows = slice(start, start + step)
        block = Targets(
            targets.image[rows],
            targets.centers[rows],
            None if targets.scale is None else targets.scale[rows],
        )
        points = priors.centers[..., part, :]
        points = points[block.image] if priors.per_image else points[None]
        distance = block.distances(points)  # (g, n)
        if priors.valid is not None:
            distance = torch.where(priors.valid[block.image, part], distance, torch.inf)
        if distance.device.type == 'cpu':
            value, position = distance.topk(k, dim=1, largest=False)
        else:
            value, position = _lowest(distance, k)
        index[rows], exists[rows] = first + position, torch.isfinite(value)
    return index, exists
