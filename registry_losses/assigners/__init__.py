"""Assigners: which slot answers for which ground truth."""

from .atss import ATSSAssigner, BatchATSSAssigner
from .base import BaseAssigner
from .bridge import AssignResult
from .centernet import CenterNetAssigner
from .dynamic_soft_label import DynamicSoftLabelAssigner
from .fcos import FCOSAssigner
from .gaussian import GaussianAssigner
from .grid_assigner import GridAssigner
from .max_iou import MaxIoUAssigner
from .point import PointAssigner
from .simota import SimOTAAssigner
from .ssd import SSDAssigner
from .task_aligned import BatchTaskAlignedAssigner, TaskAlignedAssigner
from .uniform import UniformAssigner
from .yolov1 import YOLOV1Assigner
from .yolov3 import YOLOV3Assigner
from .yolov5 import YOLOV5Assigner

__all__ = [
    'ATSSAssigner',
    'AssignResult',
    'BaseAssigner',
    'BatchATSSAssigner',
    'BatchTaskAlignedAssigner',
    'CenterNetAssigner',
    'DynamicSoftLabelAssigner',
    'FCOSAssigner',
    'GaussianAssigner',
    'GridAssigner',
    'MaxIoUAssigner',
    'PointAssigner',
    'SSDAssigner',
    'SimOTAAssigner',
    'TaskAlignedAssigner',
    'UniformAssigner',
    'YOLOV1Assigner',
    'YOLOV3Assigner',
    'YOLOV5Assigner',
]
