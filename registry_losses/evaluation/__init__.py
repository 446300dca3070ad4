"""Metrics."""

from .coco_backend import evaluate_boxes, load_backend
from .coco_metric import CocoMetric
from .voc_metric import VOCMetric, average_precision

__all__ = ['CocoMetric', 'VOCMetric', 'average_precision', 'evaluate_boxes', 'load_backend']
