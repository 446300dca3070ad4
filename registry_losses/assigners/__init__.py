"""Assigners: which priors of a head are positive, and for which ground truth.

One file a rule; each class names its rule in plain loops. Six files beside the rules are none:

* ``base.py``: what the rules share;
* ``conflicts.py``: which of several gts that claim a prior gets it;
* ``ignore_regions.py``: how ignore regions count;
* ``openmmlab.py`` and ``mmyolo.py``: the forms in which the heads of those projects call them;
* ``wrapped.py``: third-party assigners behind our interface.

What makes the rules fast stands in ``candidates/``, which finds the priors that a gt may take,
and, for the rules that look at predictions, in ``matching/``, which computes costs and
alignments of single pairs.
"""

from .approx_max_iou import ApproxMaxIoUAssigner
from .atss import ATSSAssigner
from .base import BaseAssigner
from .batch_atss import BatchATSSAssigner
from .batch_dynamic_soft_label import BatchDynamicSoftLabelAssigner
from .batch_task_aligned import BatchTaskAlignedAssigner
from .center_region import CenterRegionAssigner
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
from .region import RegionAssigner
from .simota import SimOTAAssigner
from .ssd import SSDAssigner
from .task_aligned import TaskAlignedAssigner
from .topk_hungarian import TopkHungarianAssigner
from .uniform import UniformAssigner
from .wrapped import WrappedAssigner, wrap_assigner
from .yolov1 import YOLOV1Assigner
from .yolov3 import YOLOV3Assigner
from .yolov5 import YOLOV5Assigner

__all__ = [
    'ATSSAssigner',
    'ApproxMaxIoUAssigner',
    'AssignResult',
    'BBoxL1Cost',
    'BaseAssigner',
    'BatchATSSAssigner',
    'BatchDynamicSoftLabelAssigner',
    'BatchTaskAlignedAssigner',
    'CenterNetAssigner',
    'CenterRegionAssigner',
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
    'RegionAssigner',
    'SSDAssigner',
    'SimOTAAssigner',
    'TaskAlignedAssigner',
    'TopkHungarianAssigner',
    'UniformAssigner',
    'WrappedAssigner',
    'YOLOV1Assigner',
    'YOLOV3Assigner',
    'YOLOV5Assigner',
    'wrap_assigner',
]
