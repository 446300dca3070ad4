"""Assigners: which prior answers for which ground truth."""

from .atss import ATSSAssigner, BatchATSSAssigner
from .base import BaseAssigner
from .centernet import CenterNetAssigner
from .dynamic_soft_label import DynamicSoftLabelAssigner
from .fcos import FCOSAssigner
from .gaussian import GaussianAssigner
from .grid_assigner import GridAssigner
from .hungarian import HungarianAssigner
from .matching.costs import BBoxL1Cost, ClassificationCost, FocalLossCost, IoUCost, MatchCost
from .max_iou import MaxIoUAssigner
from .openmmlab import AssignResult
from .ota import OTAAssigner
from .paa import PAAAssigner
from .point import PointAssigner
from .simota import SimOTAAssigner
from .ssd import SSDAssigner
from .task_aligned import BatchTaskAlignedAssigner, TaskAlignedAssigner
from .uniform import UniformAssigner
from .wrapped import WrappedAssigner, wrap_assigner
from .yolov1 import YOLOV1Assigner
from .yolov3 import YOLOV3Assigner
from .yolov5 import YOLOV5Assigner

__all__ = [
    'ATSSAssigner',
    'AssignResult',
    'BBoxL1Cost',
    'BaseAssigner',
    'BatchATSSAssigner',
    'BatchTaskAlignedAssigner',
    'CenterNetAssigner',
    'ClassificationCost',
    'DynamicSoftLabelAssigner',
    'FCOSAssigner',
    'FocalLossCost',
    'GaussianAssigner',
    'GridAssigner',
    'HungarianAssigner',
    'IoUCost',
    'MatchCost',
    'MaxIoUAssigner',
    'OTAAssigner',
    'PAAAssigner',
    'PointAssigner',
    'SSDAssigner',
    'SimOTAAssigner',
    'TaskAlignedAssigner',
    'UniformAssigner',
    'WrappedAssigner',
    'YOLOV1Assigner',
    'YOLOV3Assigner',
    'YOLOV5Assigner',
    'wrap_assigner',
]
