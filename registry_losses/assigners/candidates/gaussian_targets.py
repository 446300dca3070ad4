"""Gaussian targets around gts on regular grids, sparse: for CenterNet and heatmaps.

Shapes: B images, N priors, M gts, G gts of the batch in one list, P planes (the priors
of one base size on one level), E entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...ops.gaussians import gaussian_values
from ...structures import Assignment, GroundTruth, Level, Priors, SoftEntries, SoftMap
from .centers import CellRanges, rectangles_of
from .grid import Windows, expand_cells, planes_of
from .gt_rows import GtRows

# Labels are packed beside priors in one integer.
_LABEL_SPAN = 2**20
# A dense map is the shorter form while it has at most this many elements for each entry.
_MAP_SPREAD = 64
# The largest value of a Gaussian target: 1 marks a positive.
_BELOW_ONE = 1 - 2.0**-24


@dataclass(frozen=True, eq=False)
class Gaussians:
    """One Gaussian for each gt and plane; all but ``mean`` in whole cells.

    Args:
        cell: ``(G, P, 2)`` int64 (x, y), the positive cell, which may lie off the grid.
        mean: ``(G, P, 2)`` float32, where the Gaussian peaks, in cells.
        radius: ``(G, P)`` int64, cells to each side of ``cell`` that the Gaussian covers.
        sigma: ``(G, P)`` float32 in cells.
        drawn: ``(G, P)`` bool, whether this plane has the Gaussian.
        positive: ``(G, P)`` bool, whether its cell is positive; that cell must lie on
            the grid.
        reach: The radius, where all have the same.
    """

    cell: Tensor
    mean: Tensor
    radius: Tensor
    sigma: Tensor
    drawn: Tensor
    positive: Tensor
    reach: int | None = None


def planes_of_scale(levels: Sequence[Level], boxes: Tensor, highs: Tensor) -> Tensor:
    """``(G, P)`` bool: the planes of the level whose range holds half of the longer side.

    Args:
        levels: L levels.
        boxes: ``(G, 4)``.
        highs: ``(L,)`` upper ends of the levels' ranges in pixels, the last infinite.
    """
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=-1) / 2
    level = torch.searchsorted(highs, half).clamp(max=len(levels) - 1)  # (G,)
    counts = [grid.num_base for grid in levels]
    own = level[:, None] == torch.arange(len(levels), device=boxes.device)
    return torch.cat([own[:, i : i + 1].expand(-1, a) for i, a in enumerate(counts)], dim=1)


def draw(priors: Priors, rows: GtRows, gt: GroundTruth, gaussians: Gaussians) -> Assignment:
    """The positive cells as pairs, the Gaussian targets as soft entries.

    Where Gaussians of one class overlap the larger value counts. Waits for the device twice:
    to count entries and pairs, and to compact the entries.
    """
    planes = planes_of(priors.levels, priors.device)
    limit = planes.cells.long() - 1  # (P, 2)
    center = torch.minimum(gaussians.cell.clamp(min=0), limit)
    flat_index = planes.first + (center * planes.step).sum(dim=-1)  # (G, P)
    image = rows.image[:, None].expand_as(flat_index)
    positive = gaussians.positive & gaussians.drawn & rows.valid[:, None]
    if priors.valid is not None:
        positive = positive & priors.valid[image, flat_index]
    low = torch.maximum(gaussians.cell - gaussians.radius[..., None], gaussians.cell.new_zeros(()))
    high = torch.minimum(gaussians.cell + gaussians.radius[..., None], limit)
    size = (high - low + 1).clamp(min=0) * (gaussians.drawn & rows.valid[:, None])[..., None]
    cells = CellRanges(low[..., 0], low[..., 1], size[..., 0], size[..., 1])
    windows = rectangles_of(priors.levels, cells)
    # sync: enumerate candidates
    counts = (*windows.totals(), positive.sum(), _num_labels(gt))
    entries, lines, num_pairs, num_labels = torch.stack(counts).tolist()
    # Where the mask is True, without another wait for the device: the number is known.
    at = torch.argsort((~positive).reshape(-1).to(torch.uint8), stable=True)[:num_pairs]
    offset = center - gaussians.mean
    values = gaussian_values(offset[..., 0], offset[..., 1], gaussians.sigma)
    elements = gt.batch_size * priors.num_priors * num_labels
    soft: SoftEntries
    if gaussians.reach is not None and elements <= _MAP_SPREAD * entries:
        soft = _gaussian_map(priors, rows, gt, gaussians, center, num_labels)
    else:
        soft = _gaussian_targets(priors, rows, gt, gaussians, center, windows, (entries, lines))
    image, flat_index = image.reshape(-1)[at], flat_index.reshape(-1)[at]
    return Assignment(
        image,
        flat_index,
        rows.index[:, None].expand(-1, center.shape[1]).reshape(-1)[at],
        torch.zeros(gt.batch_size, priors.num_priors, dtype=torch.bool, device=priors.device),
        quality=values.reshape(-1)[at].clamp(min=torch.finfo(torch.float32).tiny),
        soft=soft,
    )


def _gaussian_targets(
    priors: Priors,
    rows: GtRows,
    gt: GroundTruth,
    gaussians: Gaussians,
    center: Tensor,
    windows: Windows,
    totals: tuple[int, int],
) -> SoftEntries:
    """Every cell of the Gaussians except the positive ones, merged by class."""
    # Numbered by window, not by gt, so that the plane of each entry is known.
    window, flat_index = expand_cells(windows.numbered(), *totals)
    row = window // max(center.shape[1], 1)

    def of_window(values: Tensor) -> Tensor:
        return values.reshape(-1).index_select(0, window)

    planes = planes_of(priors.levels, priors.device)
    local = flat_index - of_window(planes.first.expand(center.shape[0], -1))
    step_x, step_y = (of_window(s.expand(center.shape[0], -1)) for s in planes.step.unbind(-1))
    y = local // step_y
    x = (local - y * step_y) // step_x
    values = gaussian_values(
        x - of_window(gaussians.mean[..., 0]),
        y - of_window(gaussians.mean[..., 1]),
        of_window(gaussians.sigma),
    )
    peak = (x == of_window(center[..., 0])) & (y == of_window(center[..., 1]))
    peak &= of_window(gaussians.positive)
    values = torch.where(peak, 0, values)
    image = rows.image.index_select(0, row)
    label = gt.labels[image, rows.index.index_select(0, row)]
    return merge_soft(image, flat_index, label, values, priors)


def _num_labels(gt: GroundTruth) -> Tensor:
    """0-d, one more than the largest label."""
    return gt.labels.max() + 1 if gt.labels.numel() else gt.labels.new_zeros(())


def _gaussian_map(
    priors: Priors,
    rows: GtRows,
    gt: GroundTruth,
    gaussians: Gaussians,
    center: Tensor,
    num_labels: int,
) -> SoftMap:
    """As :func:`_gaussian_targets`, drawn patch by patch into a dense map.

    A patch is the product of a Gaussian in x and one in y.
    """
    assert gaussians.reach is not None
    planes = planes_of(priors.levels, priors.device)
    limit = planes.cells.long()[:, None] - 1  # (P, 1, 2)
    side = torch.arange(-gaussians.reach, gaussians.reach + 1, device=priors.device)
    cell = gaussians.cell[:, :, None] + side[:, None]  # (G, P, W, 2)
    inside = (cell >= 0) & (cell <= limit)
    offset = cell - gaussians.mean[:, :, None]
    part = torch.exp(-offset.square() / (2 * gaussians.sigma[..., None, None] ** 2)) * inside
    x, y = part.unbind(-1)
    y = y * (gaussians.drawn & rows.valid[:, None])[..., None]
    values = y[..., None] * x[..., None, :]  # (G, P, W, W)
    cell = torch.minimum(cell.clamp(min=0), limit) * planes.step[:, None] * num_labels
    label = gt.labels[rows.image, rows.index]
    start = (rows.image * priors.num_priors)[:, None] + planes.first  # (G, P)
    start = start * num_labels + label[:, None]
    place = (start[..., None] + cell[..., 1])[..., None] + cell[..., None, :, 0]
    shape = (gt.batch_size, priors.num_priors, num_labels)
    soft = values.new_zeros(shape)
    # The positive cell itself is no soft entry of its own gt.
    own = (gaussians.cell == center).all(dim=-1) & gaussians.positive
    values[..., gaussians.reach, gaussians.reach] *= ~own
    values = values.clamp_(max=_BELOW_ONE)
    soft.view(-1).scatter_reduce_(0, place.reshape(-1), values.reshape(-1), 'amax')
    return SoftMap(soft if priors.valid is None else soft * priors.valid[..., None])


def merge_soft(
    image: Tensor, prior: Tensor, label: Tensor, value: Tensor, priors: Priors
) -> SoftEntries:
    """Entries that may repeat, each (image, prior, label) once with its largest value.

    Entries of value 0 and of invalid priors are dropped. Waits for the device once.
    """
    flat_index = image * priors.num_priors + prior
    key, order = torch.sort(flat_index * _LABEL_SPAN + label)
    first = torch.ones_like(key, dtype=torch.bool)
    first[1:] = key[1:] != key[:-1]
    group = first.cumsum(0) - 1
    best = torch.zeros_like(value).scatter_reduce_(0, group, value[order], 'amax')
    # ``best`` is indexed by group: keep each group's first entry, and read its value there.
    keep = first & (best.index_select(0, group) > 0)
    if priors.valid is not None:
        keep &= priors.valid.reshape(-1).index_select(0, flat_index[order])
    at = keep.nonzero().squeeze(1)  # sync: compact entries
    source = order.index_select(0, at)
    # A Gaussian that peaks on a cell reaches 1 there, which only a positive may have.
    values = best.index_select(0, group.index_select(0, at)).clamp(max=_BELOW_ONE)
    return SoftEntries(image[source], prior[source], label[source], values)
