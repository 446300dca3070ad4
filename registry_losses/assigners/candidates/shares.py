"""The priors of whose box more than a given share lies in a region of a gt.

Shapes: B images, N priors, G gts of the batch in one list, T pairs.
"""

import torch
from torch import Tensor

from ...ops.boxes import take_boxes
from ...ops.device import host_sync_is_free
from ...ops.iou import bbox_overlaps
from ...structures import Priors
from .grid import enumerate_cells, overlap_windows, planes_of
from .gt_rows import GtRows
from .prior_blocks import prior_chunks


def find_shares(
    priors: Priors, rows: GtRows, regions: Tensor, share: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of a gt and a prior where more than ``share`` of the prior lies in the gt's region.

    On a grid they are enumerated; bare boxes are compared block by block.

    Args:
        priors: Those that are not ``valid`` are left out.
        rows: The gts.
        regions: ``(G, 4)``, the region of each gt.
        share: Share of the prior's area, at least 0; a prior must exceed it.

    Returns:
        ``(T,)`` gt, counted over ``rows``, ascending; ``(T,)`` prior; and ``(T,)`` bool, which
        of the pairs count: where a host sync is not free, others are listed too.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    if priors.levels and not priors.per_image:
        least = planes_of(priors.levels, priors.device).area * share
        least = torch.where(rows.valid[:, None], least, torch.inf)
        windows = overlap_windows(priors, regions, least)
        cells, lines = torch.stack(windows.totals()).tolist()  # sync: enumerate candidates
        for row, prior in enumerate_cells(windows, cells, lines):
            own, theirs = take_boxes(priors.boxes, prior), take_boxes(regions, row)
            keep = bbox_overlaps(own, theirs, mode='iof', is_aligned=True) > share
            found.append(_at(priors, rows, row, prior, keep))
    else:
        for part in prior_chunks(priors, rows.num_rows, 1):
            own = priors.boxes[..., part, :]
            own = own[rows.image] if priors.per_image else own[None]  # (G, n, 4)
            iof = bbox_overlaps(own, regions[:, None], mode='iof')[..., 0]
            keep = (iof > share) & rows.valid[:, None]
            row, prior = keep.nonzero(as_tuple=True)  # sync: once a block
            found.append(_at(priors, rows, row, prior + part.start, torch.ones_like(row) > 0))
    if not found:
        none = rows.image.new_zeros(0)
        return none, none, none > 0
    row, prior, keep = (torch.cat(values) for values in zip(*found))
    order = torch.argsort(row, stable=True)
    return row[order], prior[order], keep[order]


def _at(
    priors: Priors, rows: GtRows, row: Tensor, prior: Tensor, keep: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if priors.valid is not None:
        keep = keep & priors.valid[rows.image[row], prior]
    if not host_sync_is_free(keep.device):
        return row, prior, keep
    at = keep.nonzero().squeeze(1)
    return row[at], prior[at], keep[at]
