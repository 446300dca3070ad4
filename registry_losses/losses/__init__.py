"""Losses, in the registry MODELS, and their functional forms.

Every loss is called as OpenMMLab's are: ``loss(pred, target, weight, avg_factor,
reduction_override)``. Losses of classes take :class:`~registry_losses.structures.ClassTargets`,
int labels or dense values as target.

One file a loss or a close family, the formula first. Nine files hold what several share:
``base.py``, ``sigmoid.py``, ``softmax.py``, ``overlap.py`` and ``gradient_balance.py`` the
classes above them, ``targets.py``, ``reduction.py``, ``checks.py`` and ``declared.py`` how
targets, weights, settings and declarations are read. ``fused/`` makes the losses of independent
classes fast.
"""

from .adaptive_wing import AdaptiveWingLoss, adaptive_wing_loss
from .alpha_iou import AlphaIoULoss, alpha_iou_loss
from .associative_embedding import AssociativeEmbeddingLoss, associative_embedding
from .asymmetric import AsymmetricLoss, asymmetric_loss
from .base import BaseLoss
from .bounded_iou import BoundedIoULoss, bounded_iou_loss
from .cross_entropy import CrossEntropyLoss, cross_entropy
from .dice import DiceLoss, dice_loss
from .distribution_focal import DistributionFocalLoss, distribution_focal_loss
from .eiou import (
    EfficientIoULoss,
    EIoULoss,
    FocalEIoULoss,
    efficient_iou_loss,
    eiou_loss,
    focal_eiou_loss,
)
from .equalization_v2 import EQLV2Loss, equalization_loss_v2
from .equalized_focal import EqualizedFocalLoss, equalized_focal_loss
from .focal import FocalLoss, sigmoid_focal_loss, softmax_focal_loss
from .gaussian_focal import GaussianFocalLoss, gaussian_focal_loss
from .ghmc import GHMC, ghmc_loss
from .ghmr import GHMR, ghmr_loss
from .heatmap import (
    KeypointMSELoss,
    KeypointOHKMMSELoss,
    keypoint_ohkm_mse_loss,
)
from .inner_iou import InnerIoULoss, inner_iou_loss
from .iou import (
    CIoULoss,
    DIoULoss,
    GIoULoss,
    IoULoss,
    SIoULoss,
    ciou_loss,
    diou_loss,
    giou_loss,
    iou_loss,
    siou_loss,
)
from .l1 import (
    BalancedL1Loss,
    L1Loss,
    MSELoss,
    SmoothL1Loss,
    balanced_l1_loss,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from .l2 import L2Loss, l2_loss
from .matchability_aware import MatchabilityAwareLoss, matchability_aware_loss
from .mpdiou import MPDIoULoss, mpdiou_loss
from .nwd import NWDLoss, nwd_loss
from .oks import OKSLoss, oks_loss
from .paf import PAFLoss, paf_loss
from .poly import PolyLoss, poly_loss
from .powerful_iou import PowerfulIoULoss, powerful_iou_loss
from .quality_focal import QualityFocalLoss, quality_focal_loss
from .reduction import reduce_loss
from .seesaw import SeesawLoss, seesaw_loss
from .shape_iou import ShapeIoULoss, shape_iou_loss
from .varifocal import VarifocalLoss, varifocal_loss
from .wise_iou import WiseIoULoss, wise_iou_loss
from .yolo import YOLOV1Loss, YOLOV3Loss, small_box_weight, yolov1_loss, yolov3_loss
from .yolo_iou import YOLOIoULoss, yolo_iou_loss

__all__ = [
    'GHMC',
    'GHMR',
    'AdaptiveWingLoss',
    'AlphaIoULoss',
    'AssociativeEmbeddingLoss',
    'AsymmetricLoss',
    'BalancedL1Loss',
    'BaseLoss',
    'BoundedIoULoss',
    'CIoULoss',
    'CrossEntropyLoss',
    'DIoULoss',
    'DiceLoss',
    'DistributionFocalLoss',
    'EIoULoss',
    'EQLV2Loss',
    'EfficientIoULoss',
    'EqualizedFocalLoss',
    'FocalEIoULoss',
    'FocalLoss',
    'GIoULoss',
    'GaussianFocalLoss',
    'InnerIoULoss',
    'IoULoss',
    'KeypointMSELoss',
    'KeypointOHKMMSELoss',
    'L1Loss',
    'L2Loss',
    'MPDIoULoss',
    'MSELoss',
    'MatchabilityAwareLoss',
    'NWDLoss',
    'OKSLoss',
    'PAFLoss',
    'PolyLoss',
    'PowerfulIoULoss',
    'QualityFocalLoss',
    'SIoULoss',
    'SeesawLoss',
    'ShapeIoULoss',
    'SmoothL1Loss',
    'VarifocalLoss',
    'WiseIoULoss',
    'YOLOIoULoss',
    'YOLOV1Loss',
    'YOLOV3Loss',
    'adaptive_wing_loss',
    'alpha_iou_loss',
    'associative_embedding',
    'asymmetric_loss',
    'balanced_l1_loss',
    'bounded_iou_loss',
    'ciou_loss',
    'cross_entropy',
    'dice_loss',
    'diou_loss',
    'distribution_focal_loss',
    'efficient_iou_loss',
    'eiou_loss',
    'equalization_loss_v2',
    'equalized_focal_loss',
    'focal_eiou_loss',
    'gaussian_focal_loss',
    'ghmc_loss',
    'ghmr_loss',
    'giou_loss',
    'inner_iou_loss',
    'iou_loss',
    'keypoint_ohkm_mse_loss',
    'l1_loss',
    'l2_loss',
    'matchability_aware_loss',
    'mpdiou_loss',
    'mse_loss',
    'nwd_loss',
    'oks_loss',
    'paf_loss',
    'poly_loss',
    'powerful_iou_loss',
    'quality_focal_loss',
    'reduce_loss',
    'seesaw_loss',
    'shape_iou_loss',
    'sigmoid_focal_loss',
    'siou_loss',
    'small_box_weight',
    'smooth_l1_loss',
    'softmax_focal_loss',
    'varifocal_loss',
    'wise_iou_loss',
    'yolo_iou_loss',
    'yolov1_loss',
    'yolov3_loss',
]
