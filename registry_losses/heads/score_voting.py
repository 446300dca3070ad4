"""Score voting: the boxes that NMS drops still say where the kept ones end.

Shapes: k candidates of an image, d detections, P (detection, candidate) pairs.
"""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..ops import bbox_overlaps

SIGMA = 0.025
LEAST_OVERLAP = 0.01


def vote(kept: InstanceData, boxes: Tensor, scores: Tensor, labels: Tensor) -> InstanceData:
    """Each detection's box becomes the weighted mean of its class's candidates around it.

    ``box = sum(w_i box_i) / sum(w_i)`` with ``w_i = s_i exp(-(1 - IoU_i)^2 / 0.025)`` over the
    candidates whose IoU with the detection exceeds 0.01. Kim & Lee, PAA, ECCV 2020, score
    voting. As in the common implementation the detections are then ordered by class, within a
    class best first.

    Args:
        kept: ``bboxes (d, 4)``, ``scores`` and ``labels`` after NMS, best first.
        boxes: ``(k, 4)`` xyxy.
        scores: ``(k,)``; below 0: empty.
        labels: ``(k,)``.
    """
    kept = kept[torch.argsort(kept.labels, stable=True)]
    here = (scores >= 0).nonzero().squeeze(1)
    order = here[torch.argsort(labels[here], stable=True)]
    boxes, scores, labels = boxes[order], scores[order], labels[order].contiguous()
    # Pairs of one class: a run of the sorted candidates for each detection.
    first = torch.searchsorted(labels, kept.labels)
    count = torch.searchsorted(labels, kept.labels, right=True) - first
    detection = torch.repeat_interleave(count)  # (P,)
    place = torch.arange(detection.shape[0], device=detection.device)
    candidate = first[detection] + place - (count.cumsum(0) - count)[detection]
    overlap = bbox_overlaps(kept.bboxes[detection], boxes[candidate], is_aligned=True)
    weight = scores[candidate] * torch.exp(-((1 - overlap) ** 2) / SIGMA)
    weight = torch.where(overlap > LEAST_OVERLAP, weight, 0.0)
    total = weight.new_zeros(len(kept)).index_add_(0, detection, weight)
    voted = torch.zeros_like(kept.bboxes).index_add_(
        0, detection, weight[:, None] * boxes[candidate]
    )
    # A box without area overlaps nothing, not even itself.
    kept.bboxes = torch.where(total[:, None] > 0, voted / total[:, None], kept.bboxes)
    return kept
