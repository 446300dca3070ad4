"""Tensor functions that know nothing of heads, losses or configs."""

from .box_pair import BoxPair
from .boxes import box_area, clip_boxes, cxcywh_to_xyxy, xyxy_to_cxcywh
from .gaussians import gaussian_radius, gaussian_values
from .iou import (
    bbox_overlaps,
    ciou,
    diou,
    efficient_iou,
    extended_iou,
    giou,
    iof,
    iou,
    nwd,
    siou,
)
from .nms import batched_nms, nms
from .point_sampling import sample_at_offsets
from .roi_align import roi_align
from .suppression import Suppression, soft_nms

__all__ = [
    'BoxPair',
    'Suppression',
    'batched_nms',
    'bbox_overlaps',
    'box_area',
    'ciou',
    'clip_boxes',
    'cxcywh_to_xyxy',
    'diou',
    'efficient_iou',
    'extended_iou',
    'gaussian_radius',
    'gaussian_values',
    'giou',
    'iof',
    'iou',
    'nms',
    'nwd',
    'roi_align',
    'sample_at_offsets',
    'siou',
    'soft_nms',
    'xyxy_to_cxcywh',
]
