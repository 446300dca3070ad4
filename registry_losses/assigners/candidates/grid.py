"""Candidates on regular grids: which priors a gt can overlap, without comparing all.

A prior of level l and base size (W, H) at cell (x, y) is centred at ``((x, y) + offset) *
stride``. Its intersection with a gt of size (w, h) is at most ``min(w, W) * min(h, H)``
and, at centre distance (dx, dy), at most ``((w + W) / 2 - |dx|) * min(h, H)`` (and the
same the other way round). So the cells that can reach a given area form a window,
found by division; what is inside is then computed by the same float32 operations that
the dense formula uses, so that the outcome is equal to the bit.

Shapes: G gts, P planes (the priors of one base size on one level), W windows, T candidates.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from ...ops.device import block_elements, host_sync_is_free
from ...structures import Level, Priors

# Windows follow from the grid's description, from which boxes differ by rounding.
CELL_MARGIN = 0.02
AREA_MARGIN = 1e-4


@dataclass(frozen=True, eq=False)
class Planes:
    """The planes of a grid: level by level, of each level its base sizes in order.

    Args:
        size: ``(P, 2)`` base size in pixels.
        stride: ``(P, 2)`` pixels.
        cells: ``(P, 2)`` number of cells (x, y), float32.
        offset: ``(P,)`` centre within the cell, in strides.
        first: ``(P,)`` int64, prior of this base size in cell (0, 0).
        step: ``(P, 2)`` int64, priors from a cell to the next in x and in y.
        level: ``(P,)`` int64.
        start: ``(L,)`` int64, the first plane of each of the L levels.
    """

    size: Tensor
    stride: Tensor
    cells: Tensor
    offset: Tensor
    first: Tensor
    step: Tensor
    level: Tensor
    start: Tensor

    @property
    def area(self) -> Tensor:
        """``(P,)`` of the base sizes."""
        return self.size[:, 0] * self.size[:, 1]


@lru_cache(maxsize=64)
def planes_of(levels: tuple[Level, ...], device: torch.device) -> Planes:
    """The planes of a grid, on ``device``; kept for the next call."""
    size: list[tuple[float, float]] = []
    stride, cells, offset, first, step = [], [], [], [], []
    own_level, own_first = [], []
    start = 0
    for number, level in enumerate(levels):
        own_first.append(len(size))
        own_level += [number] * level.num_base
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

    return Planes(
        size=floats(size).reshape(-1, 2),
        stride=floats(stride).reshape(-1, 2),
        cells=floats(cells).reshape(-1, 2),
        offset=floats(offset),
        first=ints(first),
        step=ints(step).reshape(-1, 2),
        level=ints(own_level),
        start=ints(own_first),
    )


def nearest_grid_priors(priors: Priors, centers: Tensor) -> Tensor:
    """The prior of each plane whose centre is nearest: ``(G, 2) -> (G, P)`` int64.

    Of two cells equally near, the lower.
    """
    return _priors_at(priors, centers, lambda at, offset: at.sub_(offset + 0.5).ceil_())


def center_priors(priors: Priors, centers: Tensor) -> Tensor:
    """The prior of each plane in the cell that holds a point: ``(G, 2) -> (G, P)``.

    Cell (x, y) spans ``[x, x + 1) * stride``. A point on the border of the grid, or beyond
    it, belongs to the last cell.
    """
    return _priors_at(priors, centers, lambda at, _: at.floor_())


def _priors_at(
    priors: Priors, centers: Tensor, cell_of: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """``(G, P)`` priors at cells, clamped into the grid.

    Args:
        priors: Priors on a grid.
        centers: ``(G, 2)`` pixels.
        cell_of: ``cell_of(at, offset)``: the cell of positions ``(L, G)`` in strides, given
            the offset ``(L, 1)`` of its level; may overwrite the positions.
    """
    grid = planes_of(priors.levels, priors.device)
    # By levels, (L, G); the base sizes of a cell lie side by side.
    offset = grid.offset.index_select(0, grid.start)[:, None]
    number = None
    for axis in (1, 0):
        stride = grid.stride[:, axis].index_select(0, grid.start)[:, None]
        cells = grid.cells[:, axis].index_select(0, grid.start)[:, None]
        cell = cell_of(centers[:, axis] / stride, offset).clamp_(min=0)
        cell = torch.minimum(cell, cells - 1).long()
        number = cell if number is None else number.mul_(cells.long()).add_(cell)
    assert number is not None
    prior_index = number.index_select(0, grid.level)  # (P, G)
    return prior_index.mul_(grid.step[:, :1]).add_(grid.first[:, None]).t()


@dataclass(frozen=True, eq=False)
class Windows:
    """W rectangles of cells.

    Args:
        row: ``(W,)`` int64, the gt.
        first: ``(W,)`` int64, prior at the rectangle's first cell.
        step_x: ``(W,)`` int64, priors to the next cell in x; a number if it is the same
            for all.
        step_y: ``(W,)`` int64, priors to the next cell in y.
        width: ``(W,)`` int64, cells in x.
        height: ``(W,)`` int64, cells in y.
    """

    row: Tensor
    first: Tensor
    step_x: Tensor | int
    step_y: Tensor
    width: Tensor
    height: Tensor

    @cached_property
    def count(self) -> Tensor:
        """``(W,)`` cells in all."""
        return self.width * self.height

    def totals(self) -> tuple[Tensor, Tensor]:
        """The sums of ``count`` and ``height``, which :func:`expand_cells` must be told."""
        return self.count.sum(), self.height.sum()

    def numbered(self) -> 'Windows':
        """The same with each rectangle's own number in place of its gt."""
        number = torch.arange(self.row.shape[0], device=self.row.device)
        return replace(self, row=number)


def step_x_of(levels: tuple[Level, ...]) -> int | None:
    """Priors from a cell to the next in x, if that is the same on all levels."""
    steps = {level.num_base for level in levels}
    return steps.pop() if len(steps) == 1 else None


def overlap_windows(priors: Priors, boxes: Tensor, least: Tensor) -> Windows:
    """The cells where a prior's intersection with a gt can reach ``least``.

    Args:
        priors: Priors on a grid.
        boxes: ``(G, 4)`` xyxy.
        least: ``(G, P)`` area >= 0, infinite for none. Where it is 0 the window holds
            whatever touches the gt.
    """
    grid = planes_of(priors.levels, priors.device)
    planes = grid.first.shape[0]
    size = boxes[:, 2:] - boxes[:, :2]
    least = least * (1 - AREA_MARGIN)
    common_w = torch.minimum(size[:, :1], grid.size[:, 0])
    common_h = torch.minimum(size[:, 1:], grid.size[:, 1])
    feasible = (common_w * common_h >= least).reshape(-1)
    free = host_sync_is_free(boxes.device)
    if free:
        pair = feasible.nonzero().squeeze(1)
    else:
        pair = torch.arange(feasible.shape[0], device=boxes.device)
    row = torch.div(pair, planes, rounding_mode='floor')
    plane = pair - row * planes
    least, common_w, common_h = (
        values.reshape(-1).index_select(0, pair) for values in (least, common_w, common_h)
    )
    center = (boxes[:, :2] + boxes[:, 2:]) * 0.5
    first, count = [], []
    for axis, other in ((0, common_h), (1, common_w)):
        stride = grid.stride[:, axis].index_select(0, plane)
        at = center[:, axis].index_select(0, row) / stride - grid.offset.index_select(0, plane)
        reach = size[:, axis].index_select(0, row) + grid.size[:, axis].index_select(0, plane)
        # A gt or prior of no width has least / other = 0 / 0: it reaches by touching.
        short = torch.where(least > 0, least / other, 0)
        half = (reach * 0.5 - short) / stride + CELL_MARGIN
        low = torch.ceil(at - half).clamp_(min=0)
        high = torch.minimum(torch.floor(at + half), grid.cells[:, axis].index_select(0, plane) - 1)
        first.append(low.long())
        count.append((high - low + 1).clamp_(min=0).long())
    if not free:
        count[1] = torch.where(feasible, count[1], 0)
    step_x: Tensor | int | None = step_x_of(priors.levels)
    if step_x is None:
        step_x = grid.step[:, 0].index_select(0, plane)
    step_y = grid.step[:, 1].index_select(0, plane)
    start = grid.first.index_select(0, plane) + first[0] * step_x + first[1] * step_y
    return Windows(row, start, step_x, step_y, *count)


def enumerate_cells(windows: Windows, cells: int, lines: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The candidates of the windows, in blocks that keep memory small.

    Args:
        windows: What :func:`overlap_windows` found.
        cells: The sum of ``windows.count``, read by the caller together with whatever
            else it needs. More than a block's means one more wait for the device.
        lines: The sum of ``windows.height``.

    Yields:
        ``(T,)`` int64 gt row, ascending over all blocks, and ``(T,)`` int64 prior.
    """
    limit = block_elements(windows.count.device)
    cuts = [(0, 0, 0)]
    if cells > limit:
        ends, line_ends = windows.count.cumsum(0), windows.height.cumsum(0)
        marks = torch.arange(limit, cells, limit, device=ends.device)
        inner = torch.unique(torch.searchsorted(ends, marks))
        cut = torch.stack((inner + 1, ends[inner], line_ends[inner]))
        cuts += zip(*cut.tolist())  # sync: more than a block
    if cuts[-1][1] < cells:
        cuts.append((windows.count.shape[0], cells, lines))
    for start, end in pairwise(cuts):
        if end[1] > start[1]:
            yield expand_cells(
                windows, end[1] - start[1], end[2] - start[2], slice(start[0], end[0])
            )


def expand_cells(
    windows: Windows, cells: int, lines: int, part: slice = slice(None)
) -> tuple[Tensor, Tensor]:
    """The cells of the windows, or of some of them: ``(T,)`` row and ``(T,)`` prior.

    Args:
        windows: The rectangles.
        cells: The sum of ``windows.count``, T.
        lines: The sum of ``windows.height``.
        part: Which of the windows.
    """
    height = windows.height[part]
    # A rectangle is a row of lines, a line a row of cells.
    window = torch.repeat_interleave(height, output_size=lines)

    def spread(values: Tensor) -> Tensor:
        return values[part].index_select(0, window)

    y = torch.arange(lines, device=height.device)
    y -= (height.cumsum(0) - height).index_select(0, window)
    width = spread(windows.width)
    start = width.cumsum(0) - width
    first = spread(windows.step_y).mul_(y).add_(spread(windows.first))
    line = torch.repeat_interleave(width, output_size=cells)
    flat_index = torch.arange(cells, device=height.device)
    if isinstance(windows.step_x, Tensor):
        step_x = spread(windows.step_x)
        first -= start.mul_(step_x)
        flat_index *= step_x.index_select(0, line)
    else:
        first -= start.mul_(windows.step_x)
        flat_index *= windows.step_x
    flat_index += first.index_select(0, line)
    return spread(windows.row).index_select(0, line), flat_index
