"""Candidates on regular grids: which slots a gt can overlap, without looking at all.

A slot of level l and base size (W, H) at cell (x, y) is centred at ``((x, y) + offset) *
stride``. Its intersection with a gt of size (w, h) is at most ``min(w, W) * min(h, H)``
and, at centre distance (dx, dy), at most ``((w + W) / 2 - |dx|) * min(h, H)`` (and the
same the other way round). So the cells that can reach a given area form a window,
found by division; what is inside is then computed by the same float32 operations that
the dense formula uses, so that the outcome is equal to the bit.

Shapes: G gts, C combinations (level, base size), P windows, T candidates.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from ..structures import Level, Priors
from .common import block_elements, counting_is_free

# Windows follow from the grid's description, from which boxes differ by rounding.
CELL_MARGIN = 0.02
AREA_MARGIN = 1e-4


@dataclass(frozen=True, eq=False)
class Combinations:
    """The (level, base size) pairs of a grid, in this order.

    Args:
        size: ``(C, 2)`` base size in pixels.
        stride: ``(C, 2)`` pixels.
        cells: ``(C, 2)`` number of cells (x, y), float32.
        offset: ``(C,)`` centre within the cell, in strides.
        first: ``(C,)`` int64, slot of this base size in cell (0, 0).
        step: ``(C, 2)`` int64, slots from a cell to the next in x and in y.
    """

    size: Tensor
    stride: Tensor
    cells: Tensor
    offset: Tensor
    first: Tensor
    step: Tensor

    @property
    def area(self) -> Tensor:
        """``(C,)`` of the base sizes."""
        return self.size[:, 0] * self.size[:, 1]


@lru_cache(maxsize=64)
def combinations(levels: tuple[Level, ...], device: torch.device) -> Combinations:
    """The combinations of a grid, on ``device``; kept for the next call."""
    size, stride, cells, offset, first, step = [], [], [], [], [], []
    start = 0
    for level in levels:
        for a, base in enumerate(level.base_sizes):
            size.append(base)
            stride.append(level.stride)
            cells.append((level.width, level.height))
            offset.append(level.offset)
            first.append(start + a)
            step.append((level.num_base, level.num_base * level.width))
        start += level.num_priors

    def floats(values: list) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).to(device)

    def ints(values: list) -> Tensor:
        return torch.tensor(values, dtype=torch.long).to(device)

    return Combinations(
        size=floats(size).reshape(-1, 2),
        stride=floats(stride).reshape(-1, 2),
        cells=floats(cells).reshape(-1, 2),
        offset=floats(offset),
        first=ints(first),
        step=ints(step).reshape(-1, 2),
    )


def nearest_slots(priors: Priors, centers: Tensor) -> Tensor:
    """The slot of each combination whose centre is nearest: ``(G, 2) -> (G, C)`` int64.

    Of two cells equally near, the lower.
    """
    grid = combinations(priors.levels, priors.device)

    def cell(axis: int) -> Tensor:
        at = centers[:, axis, None] / grid.stride[:, axis] - (grid.offset + 0.5)
        return at.ceil_()

    return _slots_at(grid, cell(0), cell(1))


def center_slots(priors: Priors, centers: Tensor) -> Tensor:
    """The slot of each combination in the cell that holds a point: ``(G, 2) -> (G, C)``.

    Cell (x, y) spans ``[x, x + 1) * stride``. A point on the border of the grid, or beyond
    it, belongs to the last cell.
    """
    grid = combinations(priors.levels, priors.device)

    def cell(axis: int) -> Tensor:
        return (centers[:, axis, None] / grid.stride[:, axis]).floor_()

    return _slots_at(grid, cell(0), cell(1))


def _slots_at(grid: Combinations, x: Tensor, y: Tensor) -> Tensor:
    """``(G, C)`` slots at cells, clamped into the grid; overwrites its arguments."""
    last = grid.cells - 1
    x = torch.minimum(x.clamp_(min=0), last[:, 0]).long()
    y = torch.minimum(y.clamp_(min=0), last[:, 1]).long()
    return x.mul_(grid.step[:, 0]).add_(y.mul_(grid.step[:, 1])).add_(grid.first)


@dataclass(frozen=True, eq=False)
class Windows:
    """P rectangles of cells.

    Args:
        row: ``(P,)`` int64, the gt.
        first: ``(P,)`` int64, slot at the rectangle's first cell.
        step: ``(P, 2)`` int64, slots to the next cell in x and y.
        width: ``(P,)`` int64, cells in x.
        count: ``(P,)`` int64, cells in all.
    """

    row: Tensor
    first: Tensor
    step: Tensor
    width: Tensor
    count: Tensor

    def numbered(self) -> 'Windows':
        """The same with each rectangle's own number in place of its gt."""
        number = torch.arange(self.row.shape[0], device=self.row.device)
        return replace(self, row=number)


def overlap_windows(priors: Priors, boxes: Tensor, least: Tensor) -> Windows:
    """The cells where a slot's intersection with a gt can reach ``least``.

    Args:
        priors: Slots on a grid.
        boxes: ``(G, 4)`` xyxy.
        least: ``(G, C)`` area >= 0, infinite for none. Where it is 0 the window holds
            whatever touches the gt.
    """
    grid = combinations(priors.levels, priors.device)
    c = grid.first.shape[0]
    size = boxes[:, 2:] - boxes[:, :2]
    least = least * (1 - AREA_MARGIN)
    common_w = torch.minimum(size[:, :1], grid.size[:, 0])
    common_h = torch.minimum(size[:, 1:], grid.size[:, 1])
    feasible = (common_w * common_h >= least).reshape(-1)
    free = counting_is_free(boxes.device)
    if free:
        pair = feasible.nonzero().squeeze(1)
    else:
        pair = torch.arange(feasible.shape[0], device=boxes.device)
    row = torch.div(pair, c, rounding_mode='floor')
    combo = pair - row * c
    least, common_w, common_h = (
        values.reshape(-1).index_select(0, pair) for values in (least, common_w, common_h)
    )
    center = (boxes[:, :2] + boxes[:, 2:]) * 0.5
    first, count = [], []
    for axis, other in ((0, common_h), (1, common_w)):
        stride = grid.stride[:, axis].index_select(0, combo)
        at = center[:, axis].index_select(0, row) / stride - grid.offset.index_select(0, combo)
        reach = size[:, axis].index_select(0, row) + grid.size[:, axis].index_select(0, combo)
        # A gt or slot of no width has least / other = 0 / 0: it reaches by touching.
        short = torch.where(least > 0, least / other, 0)
        half = (reach * 0.5 - short) / stride + CELL_MARGIN
        low = torch.ceil(at - half).clamp_(min=0)
        high = torch.minimum(torch.floor(at + half), grid.cells[:, axis].index_select(0, combo) - 1)
        first.append(low.long())
        count.append((high - low + 1).clamp_(min=0).long())
    cells = count[0] * count[1]
    if not free:
        cells = torch.where(feasible, cells, 0)
    step = grid.step.index_select(0, combo)
    start = grid.first.index_select(0, combo) + first[0] * step[:, 0] + first[1] * step[:, 1]
    return Windows(row, start, step, count[0], cells)


def enumerate_cells(windows: Windows, total: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The candidates of the windows, in blocks that keep memory small.

    Args:
        windows: What :func:`overlap_windows` found.
        total: The sum of ``windows.count``, read by the caller together with whatever
            else it needs. More than a block's means one more wait for the device.

    Yields:
        ``(T,)`` int64 gt row, ascending over all blocks, and ``(T,)`` int64 slot.
    """
    limit = block_elements(windows.count.device)
    if total <= limit:
        bounds, totals = [0, windows.count.shape[0]], [0, total]
    else:
        ends = windows.count.cumsum(0)
        marks = torch.arange(limit, total, limit, device=ends.device)
        inner = torch.searchsorted(ends, marks)
        inner = torch.unique(inner)
        cut = torch.stack((inner + 1, ends[inner])).tolist()  # sync: more than a block
        bounds, totals = [0, *cut[0]], [0, *cut[1]]
        if totals[-1] < total:
            bounds.append(ends.shape[0])
            totals.append(total)
    for i in range(len(bounds) - 1):
        if totals[i + 1] > totals[i]:
            yield expand_cells(windows, slice(bounds[i], bounds[i + 1]), totals[i + 1] - totals[i])


def expand_cells(windows: Windows, part: slice, total: int) -> tuple[Tensor, Tensor]:
    """The cells of a slice of the windows, ``total`` in all: ``(T,)`` row and ``(T,)`` slot."""
    count = windows.count[part]
    window = torch.repeat_interleave(count, output_size=total)

    def spread(values: Tensor) -> Tensor:
        return values[part].index_select(0, window)

    local = torch.arange(total, device=count.device)
    local -= (count.cumsum(0) - count).index_select(0, window)
    width = spread(windows.width)
    y = torch.div(local, width, rounding_mode='floor')
    x = local - y * width
    slot = spread(windows.first) + x * spread(windows.step[:, 0]) + y * spread(windows.step[:, 1])
    return spread(windows.row), slot
