"""Priors whose centre lies in a region around a gt: inside its box, near its centre.

On a grid such a region is a window of cells, so the priors are enumerated from the gts at
a cost in their number, never by comparing N priors with M gts.

Shapes: B images, N priors, M gts, G gts of the batch in one list, L levels, A priors per cell,
P planes (the priors of one base size on one level), T candidate pairs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...ops.segments import count_of
from ...structures import GroundTruth, Level, Priors
from ...structures.assignment import order_of
from .grid import Windows, expand_cells, planes_of, step_x_of
from .gt_rows import GtRows
from .prior_blocks import prior_chunks

#: ``region(boxes (..., 4), points (..., 2), strides (..., 2)) -> low (..., 2), high (..., 2)``:
#: the open rectangle, in pixels, in which a prior's centre must lie, for a gt's box and its
#: position. The arguments broadcast.
Region = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

# Pairs held at once where all would be too many: about 50 MB of indices and terms.
PAIRS_AT_ONCE = 2**19


@dataclass(frozen=True, eq=False)
class Candidates:
    """T pairs of a gt and a prior, ordered by gt, then by prior.

    Args:
        rows: The G gts.
        row: ``(T,)`` int64, the gt, counted over ``rows``.
        prior: ``(T,)`` int64 in [0, N).
        counts: ``(G,)`` int64, the candidates of each gt.
    """

    rows: GtRows
    row: Tensor
    prior: Tensor
    counts: Tensor

    @cached_property
    def image(self) -> Tensor:
        """``(T,)`` int64."""
        return self.rows.image.index_select(0, self.row)

    @cached_property
    def gt(self) -> Tensor:
        """``(T,)`` int64 in [0, M)."""
        return self.rows.index.index_select(0, self.row)

    def part(self, pairs: slice, rows: slice) -> 'Candidates':
        """The candidates of a slice of gts, which fill a slice of the pairs."""
        row = self.row[pairs] - rows.start
        return Candidates(self.rows.part(rows), row, self.prior[pairs], self.counts[rows])

    def select(self, keep: Tensor) -> 'Candidates':
        """The pairs at a mask ``(T,)``; waits for the device."""
        at = keep.nonzero().squeeze(1)
        # Those kept lie in the order of the gts.
        ends = torch.searchsorted(at, self.counts.cumsum(0))
        return Candidates(
            self.rows,
            self.row.index_select(0, at),
            self.prior.index_select(0, at),
            ends.diff(prepend=ends.new_zeros(1)),
        )


# --- Regions -------------------------------------------------------------------------


def inside_box(boxes: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """The box itself."""
    shape = torch.broadcast_shapes(boxes.shape[:-1], strides.shape[:-1])
    return boxes[..., :2].expand(*shape, 2), boxes[..., 2:].expand(*shape, 2)


def box_of_at_least(side: float) -> Region:
    """The box, each of its sides at least ``side`` pixels long about the same centre."""
    if side <= 0:
        return inside_box

    def region(boxes: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        low, high = inside_box(boxes, points, strides)
        short, middle = high - low < side, (low + high) * 0.5
        half = 0.5 * side
        return torch.where(short, middle - half, low), torch.where(short, middle + half, high)

    return region


def around_center(radius: float) -> Region:
    """A square of ``radius`` strides to each side of the gt's position."""

    def region(boxes: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        reach = radius * strides
        return points - reach, points + reach

    return region


def inside_both(first: Region, second: Region) -> Region:
    """The intersection of two regions."""

    def region(boxes: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        low1, high1 = first(boxes, points, strides)
        low2, high2 = second(boxes, points, strides)
        return torch.maximum(low1, low2), torch.minimum(high1, high2)

    return region


def level_strides_of(priors: Priors) -> Tensor:
    """``(L, 2)`` stride of each level."""
    return _level_strides(priors.levels, priors.device)


@lru_cache(maxsize=64)
def _level_strides(levels: tuple[Level, ...], device: torch.device) -> Tensor:
    strides = torch.tensor([level.stride for level in levels], dtype=torch.float32)
    return strides.reshape(-1, 2).to(device)


# --- Windows of cells ----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CellRanges:
    """Which cells of every plane lie in the region of every gt; all ``(G, P)`` int64."""

    x: Tensor
    y: Tensor
    num_x: Tensor
    num_y: Tensor

    def part(self, rows: slice) -> 'CellRanges':
        """The ranges of a slice of gts."""
        return CellRanges(self.x[rows], self.y[rows], self.num_x[rows], self.num_y[rows])


def cell_ranges(priors: Priors, rows: GtRows, region: Region) -> CellRanges:
    """Cells whose prior's centre lies strictly inside each gt's region, exactly.

    The bounds are looked up among the coordinates of the priors, so the result is that of
    comparing every prior with every gt.
    """
    planes = planes_of(priors.levels, priors.device)
    bounds = region(rows.boxes[:, None], rows.centers[:, None], level_strides_of(priors))
    # (2, P, G) each, of (G, L, 2)
    low, high = (v.permute(2, 1, 0).index_select(1, planes.level).contiguous() for v in bounds)
    found = []
    for axis, positions in enumerate(priors.once('plane positions', _plane_positions)):
        first = torch.searchsorted(positions, low[axis], right=True)
        number = torch.searchsorted(positions, high[axis]).sub_(first).clamp_(min=0)
        found += [first.t(), number.t()]
    x, num_x, y, num_y = found
    return CellRanges(x, y, num_x * rows.valid[:, None], num_y)


def _plane_positions(priors: Priors) -> tuple[Tensor, Tensor]:
    """``(P, width)`` and ``(P, height)``: x and y of each plane's priors, filled up with inf."""
    axes: tuple[list[Tensor], list[Tensor]] = ([], [])
    for level, first in zip(priors.levels, priors.level_starts):
        grid = priors.centers[first : first + level.num_priors]
        grid = grid.view(level.height, level.width, level.num_base, 2)
        axes[0].extend(grid[0, :, :, 0].unbind(1))
        axes[1].extend(grid[:, 0, :, 1].unbind(1))
    x, y = (pad_sequence(axis, batch_first=True, padding_value=torch.inf) for axis in axes)
    return x, y


# --- Enumeration ---------------------------------------------------------------------


def find_candidates(priors: Priors, rows: GtRows, gt: GroundTruth, region: Region) -> Candidates:
    """Every (gt, prior) pair with the prior's centre strictly inside the gt's region.

    Priors with ``priors.valid`` False are left out. Waits for the device once to count the
    pairs, and once more where ``priors.valid`` is given.
    """
    if priors.levels and not priors.per_image:
        found = _expand_windows(priors, rows, cell_ranges(priors, rows, region))
    else:
        found = _search_bare(priors, rows, gt, region)
    return _drop_invalid(priors, found)


def candidate_blocks(
    priors: Priors, rows: GtRows, gt: GroundTruth, region: Region, most: int = PAIRS_AT_ONCE
) -> Iterator[tuple[GtRows, Candidates]]:
    """:func:`find_candidates` in blocks of gts that have at most about ``most`` pairs.

    Yields:
        Some of the ``rows``, and their candidates, with ``row`` counted among them.
    """
    if not priors.levels or priors.per_image:
        found = find_candidates(priors, rows, gt, region)
        ends = found.counts.cumsum(0)
        for part in _blocks_of(found.counts, most):
            last = int(ends[part.stop - 1])
            first = last - int(found.counts[part].sum())
            yield rows.part(part), found.part(slice(first, last), part)
        return
    cells = cell_ranges(priors, rows, region)
    for part in _blocks_of((cells.num_x * cells.num_y).sum(dim=1), most):
        some = rows.part(part)
        yield some, _drop_invalid(priors, _expand_windows(priors, some, cells.part(part)))


def _blocks_of(counts: Tensor, most: int) -> list[slice]:
    """Cut a list of rows into blocks whose counts add up to ``most``, or single rows."""
    starts, total = [0], 0
    for row, count in enumerate(counts.tolist()):  # sync: the pairs of each gt
        if total and total + count > most:
            starts.append(row)
            total = 0
        total += count
    ends = [*starts[1:], counts.shape[0]]
    return [slice(start, end) for start, end in zip(starts, ends) if end > start]


def _drop_invalid(priors: Priors, found: Candidates) -> Candidates:
    if priors.valid is None:
        return found
    flat_index = (found.rows.image * priors.num_priors).index_select(0, found.row).add_(found.prior)
    return found.select(priors.valid.reshape(-1).index_select(0, flat_index))


def _expand_windows(priors: Priors, rows: GtRows, cells: CellRanges) -> Candidates:
    windows = rectangles_of(priors.levels, cells)
    totals = torch.stack(windows.totals()).tolist()  # sync: enumerate candidates
    row, prior = expand_cells(windows, *totals)
    if any(level.num_base > 1 for level in priors.levels):
        order = order_of(row * priors.num_priors + prior)
        row, prior = row.index_select(0, order), prior.index_select(0, order)
    return Candidates(rows, row, prior, windows.count.view_as(cells.num_x).sum(dim=1))


def rectangles_of(levels: tuple[Level, ...], cells: CellRanges) -> Windows:
    """The ranges as rectangles of priors, ``G * P`` in the order gt, plane."""
    planes = planes_of(levels, cells.x.device)
    g, p = cells.x.shape
    row = torch.arange(g, device=cells.x.device).repeat_interleave(p, output_size=g * p)
    step_x: Tensor | int | None = step_x_of(levels)
    if step_x is None:
        step_x = planes.step[:, 0].repeat(g)
    corner = planes.first + cells.x * planes.step[:, 0] + cells.y * planes.step[:, 1]
    return Windows(
        row=row,
        first=corner.reshape(-1),
        step_x=step_x,
        step_y=planes.step[:, 1].repeat(g),
        width=cells.num_x.reshape(-1),
        height=cells.num_y.reshape(-1),
    )


def _search_bare(priors: Priors, rows: GtRows, gt: GroundTruth, region: Region) -> Candidates:
    """Without a grid: compare priors with gts block by block."""
    hits = []
    for part, mask in bare_blocks(priors, rows, gt, region):
        found = mask.nonzero()  # sync: once a block
        found[:, 2] += part.start
        hits.append(found)
    image, index, prior = torch.cat(hits).unbind(-1) if hits else rows.image.new_zeros(3, 0)
    key = image * gt.max_gts + index
    order = order_of(key * max(priors.num_priors, 1) + prior)
    prior, key = prior[order], key[order]
    row = torch.searchsorted(rows.image * gt.max_gts + rows.index, key)
    return Candidates(rows, row, prior, count_of(row, rows.num_rows))


def bare_blocks(
    priors: Priors, rows: GtRows, gt: GroundTruth, region: Region
) -> Iterator[tuple[slice, Tensor]]:
    """Yield a slice of priors and ``(B, M, n)`` bool, whether they lie in the rows' regions."""
    b, m = gt.valid.shape
    listed = torch.zeros_like(gt.valid)
    listed[rows.image, rows.index] = rows.valid
    # Masks of one byte: blocks may be larger than those of float32 temporaries.
    for part in prior_chunks(priors, max(m // 4, 1), b):
        centers = priors.centers[..., part, :].expand(b, -1, 2)[:, None]
        strides = priors.strides[..., part, :].expand(b, -1, 2)[:, None]
        low, high = region(gt.boxes[:, :, None], gt.points[:, :, None], strides)  # (B, M, n, 2)
        mask = ((centers > low) & (centers < high)).all(dim=-1)
        yield part, mask & listed[:, :, None]
