"""Assigners: which slot answers for which ground truth."""

from .atss import ATSSAssigner, BatchATSSAssigner
from .base import BaseAssigner
from .bridge import AssignResult
from .dynamic_soft_label import DynamicSoftLabelAssigner
from .fcos import FCOSAssigner
from .max_iou import MaxIoUAssigner
from .point import PointAssigner
from .simota import SimOTAAssigner

__all__ = [
    'ATSSAssigner',
    'AssignResult',
    'BaseAssigner',
    'BatchATSSAssigner',
    'DynamicSoftLabelAssigner',
    'FCOSAssigner',
    'MaxIoUAssigner',
    'PointAssigner',
    'SimOTAAssigner',
]
