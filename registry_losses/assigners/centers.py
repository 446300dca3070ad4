"""Slots whose centre lies in a region around a gt: inside its box, near its centre.

On a grid such a region is a window of cells, so the slots are enumerated from the gts at
a cost in their number, never by comparing N slots with M gts.

Shapes: B images, N slots, M gts, G gts of the batch in one list, L levels, A slots a cell,
P planes (the slots ``a`` of one level), T candidate pairs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..structures import GroundTruth, Level, Priors
from .common import GtRows, prior_chunks
from .grid import Windows, combinations, expand_cells

#: ``region(boxes (..., 4), points (..., 2), strides (..., 2)) -> low (..., 2), high (..., 2)``:
#: the open rectangle, in pixels, in which a slot's centre must lie, for a gt's box and its
#: position. The arguments broadcast.
Region = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

# Pairs held at once where all would be too many: about 50 MB of indices and terms.
PAIRS_AT_ONCE = 1 << 19


@dataclass(frozen=True, eq=False)
class Candidates:
    """T pairs of a gt and a slot, ordered by gt, then by slot.

    Args:
        row: ``(T,)`` int64, the gt, counted over the list of :class:`GtRows`.
        image: ``(T,)`` int64.
        gt: ``(T,)`` int64 in [0, M).
        prior: ``(T,)`` int64 in [0, N).
        counts: ``(G,)`` int64, the candidates of each gt.
    """

    row: Tensor
    image: Tensor
    gt: Tensor
    prior: Tensor
    counts: Tensor

    def part(self, pairs: slice, rows: slice) -> 'Candidates':
        """The candidates of a slice of gts, which stand in a slice of the pairs."""
        return Candidates(
            self.row[pairs] - rows.start,
            self.image[pairs],
            self.gt[pairs],
            self.prior[pairs],
            self.counts[rows],
        )

    def select(self, keep: Tensor) -> 'Candidates':
        """The pairs at a mask ``(T,)``; waits for the device."""
        at = keep.nonzero().squeeze(1)
        row = self.row.index_select(0, at)
        return Candidates(
            row,
            self.image.index_select(0, at),
            self.gt.index_select(0, at),
            self.prior.index_select(0, at),
            count_of(row, self.counts.shape[0]),
        )


def count_of(index: Tensor, size: int) -> Tensor:
    """``(size,)`` int64, how often each number occurs; unlike ``bincount`` never waits."""
    return index.new_zeros(size).index_add_(0, index, torch.ones_like(index))


# --- Regions -------------------------------------------------------------------------


def inside_box(boxes: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """The box itself."""
    shape = torch.broadcast_shapes(boxes.shape[:-1], strides.shape[:-1])
    return boxes[..., :2].expand(*shape, 2), boxes[..., 2:].expand(*shape, 2)


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
    """Cells whose slot's centre lies strictly inside each gt's region, exactly.

    The bounds are found among the very coordinates of the slots, so the answer is that of
    comparing every slot with every gt.
    """
    low, high = region(
        rows.boxes[:, None], rows.centers[:, None], level_strides_of(priors)
    )  # (G, L, 2)
    parts = []
    for i, level in enumerate(priors.levels):
        first = priors.level_starts[i]
        grid = priors.centers[first : first + level.num_priors]
        grid = grid.view(level.height, level.width, level.num_base, 2)
        x, num_x = _axis_range(grid[0, :, :, 0], low[:, i, 0], high[:, i, 0])
        y, num_y = _axis_range(grid[:, 0, :, 1], low[:, i, 1], high[:, i, 1])
        parts.append((x, y, num_x, num_y))
    x, y, num_x, num_y = (torch.cat(part, dim=1) for part in zip(*parts))
    return CellRanges(x, y, num_x * rows.valid[:, None], num_y)


def _axis_range(positions: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """First index, and number, of the ascending ``positions (n, A)`` in (low, high) ``(G,)``.

    Returns:
        Two ``(G, A)`` int64.
    """
    positions = positions.t().contiguous()  # (A, n)
    low = low.expand(positions.shape[0], -1).contiguous()  # (A, G)
    high = high.expand(positions.shape[0], -1).contiguous()
    first = torch.searchsorted(positions, low, right=True)
    number = torch.searchsorted(positions, high) - first
    return first.t(), number.clamp(min=0).t()


# --- Enumeration ---------------------------------------------------------------------


def find_candidates(priors: Priors, rows: GtRows, gt: GroundTruth, region: Region) -> Candidates:
    """Every (gt, slot) pair with the slot's centre strictly inside the gt's region.

    Slots with ``priors.valid`` False are left out. Waits for the device once to count the
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
    slot = found.image * priors.num_priors + found.prior
    return found.select(priors.valid.reshape(-1).index_select(0, slot))


def _expand_windows(priors: Priors, rows: GtRows, cells: CellRanges) -> Candidates:
    sizes = (cells.num_x * cells.num_y).reshape(-1)  # (G * P,)
    total = int(sizes.sum())  # sync: enumerate candidates
    rectangles = rectangles_of(priors.levels, cells)
    row, prior = expand_cells(rectangles, slice(None), total)
    if any(level.num_base > 1 for level in priors.levels):
        order = torch.argsort(row * priors.num_priors + prior)
        row, prior = row.index_select(0, order), prior.index_select(0, order)
    return Candidates(
        row,
        rows.image.index_select(0, row),
        rows.index.index_select(0, row),
        prior,
        sizes.view_as(cells.num_x).sum(dim=1),
    )


def rectangles_of(levels: tuple[Level, ...], cells: CellRanges) -> Windows:
    """The ranges as rectangles of slots, ``G * P`` in the order gt, plane."""
    planes = combinations(levels, cells.x.device)
    g, p = cells.x.shape
    row = torch.arange(g, device=cells.x.device).repeat_interleave(p, output_size=g * p)
    corner = planes.first + cells.x * planes.step[:, 0] + cells.y * planes.step[:, 1]
    return Windows(
        row=row,
        first=corner.reshape(-1),
        step=planes.step.repeat(g, 1),
        width=cells.num_x.reshape(-1),
        count=(cells.num_x * cells.num_y).reshape(-1),
    )


def _search_bare(priors: Priors, rows: GtRows, gt: GroundTruth, region: Region) -> Candidates:
    """Without a grid: compare slots with gts block by block."""
    hits = []
    for part, mask in _bare_blocks(priors, rows, gt, region):
        found = mask.nonzero()  # sync: once a block
        found[:, 2] += part.start
        hits.append(found)
    image, index, prior = torch.cat(hits).unbind(-1) if hits else rows.image.new_zeros(3, 0)
    key = image * gt.max_gts + index
    order = torch.argsort(key * max(priors.num_priors, 1) + prior)
    image, index, prior, key = image[order], index[order], prior[order], key[order]
    row = torch.searchsorted(rows.image * gt.max_gts + rows.index, key)
    return Candidates(row, image, index, prior, count_of(row, rows.num_rows))


def _bare_blocks(
    priors: Priors, rows: GtRows, gt: GroundTruth, region: Region
) -> Iterator[tuple[slice, Tensor]]:
    """Yield a slice of slots and ``(B, M, n)`` bool, whether they lie in the rows' regions."""
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


def covered_slots(
    priors: Priors, rows: GtRows, gt: GroundTruth, regions: tuple[Region, ...]
) -> Tensor:
    """``(B, N)`` bool: valid slots whose centre lies in any region of any gt of the image.

    On a grid the windows are painted by their corners and summed up, at a cost in gts
    and slots, not in their product. Does not wait for the device.
    """
    b, n = gt.batch_size, priors.num_priors
    if priors.levels and not priors.per_image:
        out = _paint(priors, rows, b, regions)
    else:
        out = torch.zeros(b, n, dtype=torch.bool, device=priors.device)
        for region in regions:
            for part, mask in _bare_blocks(priors, rows, gt, region):
                out[:, part] |= mask.any(dim=1)
    return out if priors.valid is None else out & priors.valid


def _paint(priors: Priors, rows: GtRows, b: int, regions: tuple[Region, ...]) -> Tensor:
    found = [cell_ranges(priors, rows, region) for region in regions]
    parts, plane = [], 0
    for level in priors.levels:
        h, w, a = level.height, level.width, level.num_base
        sums = torch.zeros(b * (h + 1) * (w + 1) * a, dtype=torch.int32, device=priors.device)
        for cells in found:
            p = slice(plane, plane + a)
            one = ((cells.num_x[:, p] > 0) & (cells.num_y[:, p] > 0)).int().reshape(-1)
            slot = torch.arange(a, device=priors.device)
            for y, sign_y in ((cells.y[:, p], 1), (cells.y[:, p] + cells.num_y[:, p], -1)):
                for x, sign_x in ((cells.x[:, p], 1), (cells.x[:, p] + cells.num_x[:, p], -1)):
                    corner = ((rows.image[:, None] * (h + 1) + y) * (w + 1) + x) * a + slot
                    sums.index_add_(0, corner.reshape(-1), one * (sign_x * sign_y))
        sums = sums.view(b, h + 1, w + 1, a).cumsum(1).cumsum(2)[:, :h, :w]
        parts.append((sums > 0).reshape(b, -1))
        plane += a
    return torch.cat(parts, dim=1)
