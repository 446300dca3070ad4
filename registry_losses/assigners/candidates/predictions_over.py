"""Which predicted boxes overlap a gt by more than a threshold.

Shapes: B images, N priors, M gts.
"""

import torch
from torch import Tensor

from ...ops.device import block_elements, host_sync_is_free
from ...ops.iou import bbox_overlaps
from ...structures import GroundTruth, Predictions
from .predicted_overlaps import RUN_LENGTH, overlapping_blocks


def predictions_over(predictions: Predictions, gt: GroundTruth, threshold: float) -> Tensor:
    """``(B, N)`` bool: priors whose predicted box overlaps any gt by more than ``threshold``.

    Args:
        predictions: What the head predicts now.
        gt: The gts.
        threshold: IoU >= 0.
    """
    b, n = predictions.boxes.shape[:2]
    if gt.max_gts == 0:
        return torch.zeros(b, n, dtype=torch.bool, device=gt.device)
    if host_sync_is_free(gt.device):
        return _meeting_predictions_over(predictions, gt, threshold)
    out = torch.zeros(b, n, dtype=torch.bool, device=gt.device)
    step = max(block_elements(gt.device) // (b * gt.max_gts), 1)
    for start in range(0, n, step):
        part = slice(start, start + step)
        iou = bbox_overlaps(predictions.boxes[:, part], gt.boxes)  # (B, n, M)
        out[:, part] = ((iou > threshold) & gt.valid[:, None]).any(dim=-1)
    return out


def _meeting_predictions_over(
    predictions: Predictions, gt: GroundTruth, threshold: float
) -> Tensor:
    """:func:`predictions_over`, comparing only the boxes of runs whose bounds meet a gt."""
    b, n = predictions.boxes.shape[:2]
    runs = -(-n // RUN_LENGTH)
    out = torch.zeros(b * runs, RUN_LENGTH, dtype=torch.bool, device=gt.device)
    for block in overlapping_blocks(predictions.boxes, gt, None):
        some = (block.peaks > threshold).nonzero().squeeze(1)
        image = block.image.index_select(0, block.row.index_select(0, some))
        run = image * runs + block.first_prior.index_select(0, some) // RUN_LENGTH
        over = block.overlaps.index_select(0, some) > threshold
        out.index_put_((run,), over, accumulate=True)
    return out.view(b, -1)[:, :n].contiguous()
