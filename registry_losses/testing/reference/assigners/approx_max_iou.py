"""ApproxMaxIoUAssigner in plain loops."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .image import Answer, F, Image, overlaps
from .max_iou import max_iou


def approx_max_iou(
    image: Image,
    pos_iou_thr: float,
    neg_iou_thr: float | tuple[float, float],
    approx_scales: Sequence[float] = (1.0,),
    approx_ratios: Sequence[float] = (1.0,),
) -> Answer:
    """``max_iou``, where a prior's IoU is the largest of its approximations'.

    Wang et al., Guided Anchoring, CVPR 2019, the anchor shape targets.
    """
    tables = []
    for scale in approx_scales:
        for ratio in approx_ratios:
            size = np.array([scale / math.sqrt(ratio), scale * math.sqrt(ratio)], dtype=F)
            center = (image.boxes[:, :2] + image.boxes[:, 2:]) / 2
            half = (image.boxes[:, 2:] - image.boxes[:, :2]) * size / 2
            boxes = np.concatenate((center - half, center + half), axis=1)
            tables.append(overlaps(boxes, image.gt_boxes))
    best = replace(image)
    best.iou = np.max(tables, axis=0)
    return max_iou(best, pos_iou_thr, neg_iou_thr)
