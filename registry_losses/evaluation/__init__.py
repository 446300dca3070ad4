"""Metrics."""

from .coco_backend import evaluate_boxes, load_backend
from .coco_metric import CocoMetric
from .keypoint_metric import CocoKeypointMetric
from .voc_metric import VOCMetric, average_precision

__all__ = [
    'CocoKeypointMetric',
    'CocoMetric',
    'VOCMetric',
    'average_precision',
    'evaluate_boxes',
    'load_backend',
]
