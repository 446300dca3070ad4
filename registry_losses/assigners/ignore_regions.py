"""Which priors lie in an ignore region: by their centre, by their box, on a mask.

Shapes: B images, N priors, Mi ignore regions.
"""

import torch
from torch import Tensor

from ..ops.boxes import centers_inside
from ..ops.iou import bbox_overlaps
from ..structures import GroundTruth, Priors
from .candidates.prior_blocks import batched_boxes, prior_chunks


def centers_in_ignore_box(priors: Priors, gt: GroundTruth) -> Tensor:
    """``(B, N)`` bool: priors whose centre lies inside an ignore box.

    On a grid the columns and the rows of each level are tested separately.
    """
    b, m = gt.ignore_valid.shape
    if not priors.levels or priors.per_image:
        out = torch.zeros(b, priors.num_priors, dtype=torch.bool, device=priors.device)
        for part in prior_chunks(priors, m, b):
            points = priors.centers[..., part, :].expand(b, -1, 2)[:, :, None]
            inside = centers_inside(points, gt.ignore_boxes[:, None]) & gt.ignore_valid[:, None]
            out[:, part] = inside.any(dim=-1)
        return out
    low_x, low_y, high_x, high_y = gt.ignore_boxes[:, None].unbind(-1)  # (B, 1, Mi)
    parts = []
    for level, first, size in zip(priors.levels, priors.level_starts, priors.level_sizes):
        shape = (level.height, level.width, level.num_base, 2)
        centers = priors.centers[first : first + size].view(shape)[:, :, 0]  # (H, W, 2)
        x, y = centers[0, :, 0, None], centers[:, 0, 1, None]
        columns = (x > low_x) & (x < high_x) & gt.ignore_valid[:, None]  # (B, W, Mi)
        rows = (y > low_y) & (y < high_y)  # (B, H, Mi)
        hits = torch.bmm(rows.float(), columns.float().transpose(1, 2)) > 0  # (B, H, W)
        parts.append(hits[..., None].expand(-1, -1, -1, level.num_base).reshape(b, -1))
    return torch.cat(parts, dim=1)


def boxes_in_ignore_box(
    priors: Priors, gt: GroundTruth, iof_thr: float, *, wrt_candidates: bool = True
) -> Tensor:
    """``(B, N)`` bool: priors of whose box more than a share lies in an ignore box.

    Args:
        priors: The priors.
        gt: Holds the regions.
        iof_thr: The intersection's least share, exclusive.
        wrt_candidates: Of the prior's box, or (False) of the region.
    """
    b, regions = gt.batch_size, gt.ignore_boxes
    out = torch.zeros(b, priors.num_priors, dtype=torch.bool, device=priors.device)
    for part in prior_chunks(priors, regions.shape[1], b):
        boxes = batched_boxes(priors, b, part)
        if wrt_candidates:
            iof = bbox_overlaps(boxes, regions, mode='iof')  # (B, n, Mi)
        else:
            iof = bbox_overlaps(regions, boxes, mode='iof').transpose(1, 2)
        out[:, part] = ((iof > iof_thr) & gt.ignore_valid[:, None]).any(dim=-1)
    return out


def in_ignore_mask(priors: Priors, mask: Tensor) -> Tensor:
    """Priors whose centre's pixel is set in ``mask (B, H, W)``; ``(B, N)`` bool.

    A centre outside the mask is not ignored.
    """
    b, height, width = mask.shape
    x, y = priors.centers.floor().long().unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    pixel = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).expand(b, -1)
    return mask.reshape(b, -1).gather(1, pixel) & inside


def regions_not_annotated(priors: Priors, gt: GroundTruth) -> Tensor:
    """``(B, N)`` bool: priors where nothing is annotated, at the maps' own resolution."""
    ignored = centers_in_ignore_box(priors, gt)
    if gt.ignore_mask is not None:
        ignored = ignored | in_ignore_mask(priors, gt.ignore_mask)
    return ignored if priors.valid is None else ignored | ~priors.valid
