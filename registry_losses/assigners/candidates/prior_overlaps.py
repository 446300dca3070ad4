"""Every (gt, prior) pair whose IoU matters, from a grid or from bare boxes.

Shapes: B images, N priors, M gts, G gts of the batch, P planes, T pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...ops.boxes import corners_of, take_boxes
from ...ops.device import block_elements, host_sync_is_free
from ...ops.iou import bbox_overlaps, iou_of_corners
from ...structures import GroundTruth, Priors
from .grid import AREA_MARGIN, enumerate_cells, nearest_grid_priors, overlap_windows, planes_of
from .gt_rows import GtRows
from .prior_blocks import batched_boxes, corners_of_priors, prior_chunks

#: Stands for a number that is not known without waiting for the device.
UNKNOWN = -1

#: ``priors_of(rows) -> (G, P)`` int64: for each gt some priors, one of which overlaps it about
#: as much as its best does.
PriorsOf = Callable[[GtRows], Tensor]


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Pairs of a gt and a prior, ascending by gt row.

    Args:
        row: ``(T,)`` int64, the gt in the list of gts.
        prior: ``(T,)`` int64 in [0, N).
        iou: ``(T,)`` float32; -1 where the prior is no candidate.
        num_unmatched: How many gts may overlap no prior at all, or :data:`UNKNOWN`.
    """

    row: Tensor
    prior: Tensor
    iou: Tensor
    num_unmatched: int = 0

    def best(self, num_rows: int) -> Tensor:
        """``(G,)`` the largest IoU of each gt, -1 without any."""
        return self.iou.new_full((num_rows,), -1).scatter_reduce_(0, self.row, self.iou, 'amax')


def find_overlaps(
    priors: Priors,
    gt: GroundTruth,
    rows: GtRows,
    threshold: float | Tensor,
    *,
    best_too: bool = True,
    slack: float = 1.0,
    priors_of: PriorsOf | None = None,
    eligible: Tensor | None = None,
) -> Overlaps:
    """The pairs with an IoU of at least ``threshold``, and each gt's best.

    All pairs that reach the threshold are found, and for a gt whose best IoU among the
    ``eligible`` priors is lower all pairs that reach that; some lower ones may be among
    them. On a grid they are enumerated; bare boxes are compared block by block.

    Args:
        priors: Priors that are not ``valid`` are no candidates.
        gt: The batch's ground truth.
        rows: Its gts in a list.
        threshold: IoU > 0; or one per gt, ``(G,)``.
        best_too: Whether each gt's best is wanted where it is below the threshold.
        slack: In (0, 1]: then also all pairs that reach this share of the best.
        priors_of: On a grid, where to look for a bound on the best: the nearest priors by
            default. They must be eligible.
        eligible: ``(B, N)`` bool, on bare boxes; priors among which the best is meant.
    """
    if not isinstance(threshold, Tensor):
        threshold = rows.boxes.new_full((rows.num_rows,), threshold)
    if priors.levels and not priors.per_image:
        return _grid_overlaps(priors, rows, threshold, best_too, slack, priors_of)
    return _streamed_overlaps(priors, gt, rows, threshold, best_too, slack, eligible)


def candidate_iou(priors: Priors, rows: GtRows, row: Tensor, prior: Tensor) -> Tensor:
    """``(T,)`` IoU of a gt and a prior of a grid, -1 where the prior is no candidate."""
    own, gts = take_boxes(priors.boxes, prior), take_boxes(rows.boxes, row)
    own_areas = corners_of_priors(priors)[4].index_select(0, prior)
    gt_areas = corners_of(rows.boxes)[4].index_select(0, row)
    iou = iou_of_corners(own.float().unbind(-1), own_areas, gts.float().unbind(-1), gt_areas)
    if priors.valid is not None:
        flat_index = rows.image.index_select(0, row) * priors.num_priors + prior
        iou = torch.where(priors.valid.reshape(-1).index_select(0, flat_index), iou, -1)
    return iou


def iou_at(priors: Priors, rows: GtRows, prior_index: Tensor) -> Tensor:
    """``(G, P)`` IoU of each gt with the priors ``(G, P)``; -1 where one is no candidate."""
    prior_index = prior_index.t()  # (P, G): arithmetic runs along the gts
    own = (
        corners_of_priors(priors)
        .index_select(1, prior_index.reshape(-1))
        .view(5, *prior_index.shape)
    )
    gts = corners_of(rows.boxes)
    iou = iou_of_corners(own[:4].unbind(0), own[4], gts[:4].unbind(0), gts[4])
    if priors.valid is not None:
        flat_index = rows.image * priors.num_priors + prior_index
        valid = priors.valid.reshape(-1).index_select(0, flat_index.reshape(-1))
        iou = torch.where(valid.view_as(iou), iou, -1)
    return iou.t()


def _floor(best: Tensor, threshold: Tensor, valid: Tensor) -> Tensor:
    """``(G,)`` least IoU at which a pair of the gt is wanted; infinite where it is not valid.

    ``best`` is a lower bound of the gt's best, up to rounding. Where it is 0, the gt is not
    known to overlap anything, and every prior that touches it is wanted.
    """
    best = torch.where(best > 0, best * (1 - AREA_MARGIN), 0)
    return torch.where(valid, torch.minimum(best, threshold), torch.inf)


def _grid_overlaps(
    priors: Priors,
    rows: GtRows,
    threshold: Tensor,
    best_too: bool,
    slack: float,
    priors_of: PriorsOf | None,
) -> Overlaps:
    areas = planes_of(priors.levels, priors.device).area
    step = max(block_elements(priors.device) // max(areas.shape[0], 1), 1)
    found, num_unmatched = [], 0
    for start in range(0, rows.num_rows, step):
        block = rows.part(slice(start, start + step))
        if best_too:
            prior_index = (
                priors_of(block) if priors_of else nearest_grid_priors(priors, block.centers)
            )
            best = iou_at(priors, block, prior_index).amax(dim=1) * slack
        else:
            best = threshold[start : start + step]
        floor = _floor(best, threshold[start : start + step], block.valid)
        # IoU = floor where the intersection is this share of the sum of both areas.
        share = torch.where(block.valid, floor / (1 + floor), torch.inf)
        size = block.boxes[:, 2:] - block.boxes[:, :2]
        least = share[:, None] * ((size[:, 0] * size[:, 1])[:, None] + areas)
        windows = overlap_windows(priors, block.boxes, least)
        counts = torch.stack((*windows.totals(), (floor == 0).sum()))
        cells, lines, unsure = counts.tolist()  # sync: enumerate candidates
        num_unmatched += unsure
        for row, prior in enumerate_cells(windows, cells, lines):
            iou = candidate_iou(priors, block, row, prior)
            if host_sync_is_free(iou.device):
                keep = (iou >= floor.index_select(0, row)).nonzero().squeeze(1)
                row, prior, iou = (x.index_select(0, keep) for x in (row, prior, iou))
            found.append((row + start, prior, iou))
    return _join(found, priors, num_unmatched)


def _streamed_overlaps(
    priors: Priors,
    gt: GroundTruth,
    rows: GtRows,
    threshold: Tensor,
    best_too: bool,
    slack: float,
    eligible: Tensor | None,
) -> Overlaps:
    b, m = gt.batch_size, gt.max_gts
    number = torch.full_like(gt.labels, -1)  # (B, M) each gt's row, -1 if not wanted
    number[rows.image, rows.index] = torch.arange(rows.num_rows, device=number.device)
    limit = gt.boxes.new_zeros(b, m)
    limit[rows.image, rows.index] = threshold
    best = limit
    if best_too:
        best = torch.full_like(limit, -1)
        for part in prior_chunks(priors, m, b):
            iou = _iou_block(priors, gt, part)
            if eligible is not None:
                iou = torch.where(eligible[:, part, None], iou, -1)
            best = torch.maximum(best, iou.amax(dim=1))
    best = best * slack if best_too else best
    floor = _floor(best, limit, gt.valid & (number >= 0))
    found = []
    for part in prior_chunks(priors, m, b):
        iou = _iou_block(priors, gt, part)
        wanted = (iou >= floor[:, None]) & (iou > 0)
        image, prior, index = wanted.nonzero(as_tuple=True)  # sync: once a chunk
        row = number[image, index]
        found.append((row, prior + part.start, iou[image, prior, index]))
    pairs = _join(found, priors, 0)
    order = torch.argsort(pairs.row, stable=True)
    num_unmatched = 0
    if best_too:
        free = host_sync_is_free(floor.device)
        num_unmatched = int((floor == 0).sum()) if free else UNKNOWN
    return Overlaps(pairs.row[order], pairs.prior[order], pairs.iou[order], num_unmatched)


def _iou_block(priors: Priors, gt: GroundTruth, part: slice) -> Tensor:
    """``(B, n, M)``, -1 where the prior is no candidate or the gt is not valid."""
    iou = bbox_overlaps(batched_boxes(priors, gt.batch_size, part), gt.boxes)
    keep = gt.valid[:, None]
    if priors.valid is not None:
        keep = keep & priors.valid[:, part, None]
    return torch.where(keep, iou, -1)


def _join(
    found: list[tuple[Tensor, Tensor, Tensor]], priors: Priors, num_unmatched: int
) -> Overlaps:
    if not found:
        none = torch.zeros(0, dtype=torch.long, device=priors.device)
        return Overlaps(none, none, none.float(), num_unmatched)
    row, prior, iou = found[0] if len(found) == 1 else map(torch.cat, zip(*found))
    return Overlaps(row, prior, iou, num_unmatched)
