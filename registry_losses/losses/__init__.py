"""Losses, in the registry MODELS, and their functional forms.

Every loss is called as OpenMMLab's are: ``loss(pred, target, weight, avg_factor,
reduction_override)``. Losses of classes take :class:`~registry_losses.structures.ClassTargets`,
int labels or dense values as target.
"""

from .adaptive_wing import AdaptiveWingLoss, adaptive_wing_loss
from .associative_embedding import AssociativeEmbeddingLoss, associative_embedding
from .asymmetric import AsymmetricLoss, asymmetric_loss
from .base import BaseLoss
from .bounded_iou import BoundedIoULoss, bounded_iou_loss
from .cross_entropy import CrossEntropyLoss, cross_entropy
from .dice import DiceLoss, dice_loss
from .distribution_focal import DistributionFocalLoss, distribution_focal_loss
from .eiou import EfficientIoULoss, EIoULoss, efficient_iou_loss, eiou_loss
from .focal import FocalLoss, sigmoid_focal_loss, softmax_focal_loss
from .gaussian_focal import GaussianFocalLoss, gaussian_focal_loss
from .ghmc import GHMC, ghmc_loss
from .ghmr import GHMR, ghmr_loss
from .heatmap import (
    KeypointMSELoss,
    KeypointOHKMMSELoss,
    keypoint_ohkm_mse_loss,
)
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
from .nwd import NWDLoss, nwd_loss
from .oks import OKSLoss, oks_loss
from .paf import PAFLoss, paf_loss
from .poly import PolyLoss, poly_loss
from .quality_focal import QualityFocalLoss, quality_focal_loss
from .reduction import reduce_loss
from .seesaw import SeesawLoss, seesaw_loss
from .varifocal import VarifocalLoss, varifocal_loss
from .yolo import YOLOV1Loss, YOLOV3Loss, small_box_weight, yolov1_loss, yolov3_loss
from .yolo_iou import YOLOIoULoss, yolo_iou_loss

__all__ = [
    'GHMC',
    'GHMR',
    'AdaptiveWingLoss',
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
    'EfficientIoULoss',
    'FocalLoss',
    'GIoULoss',
    'GaussianFocalLoss',
    'IoULoss',
    'KeypointMSELoss',
    'KeypointOHKMMSELoss',
    'L1Loss',
    'MSELoss',
    'NWDLoss',
    'OKSLoss',
    'PAFLoss',
    'PolyLoss',
    'QualityFocalLoss',
    'SIoULoss',
    'SeesawLoss',
    'SmoothL1Loss',
    'VarifocalLoss',
    'YOLOIoULoss',
    'YOLOV1Loss',
    'YOLOV3Loss',
    'adaptive_wing_loss',
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
    'gaussian_focal_loss',
    'ghmc_loss',
    'ghmr_loss',
    'giou_loss',
    'iou_loss',
    'keypoint_ohkm_mse_loss',
    'l1_loss',
    'mse_loss',
    'nwd_loss',
    'oks_loss',
    'paf_loss',
    'poly_loss',
    'quality_focal_loss',
    'reduce_loss',
    'seesaw_loss',
    'sigmoid_focal_loss',
    'siou_loss',
    'small_box_weight',
    'smooth_l1_loss',
    'softmax_focal_loss',
    'varifocal_loss',
    'yolo_iou_loss',
    'yolov1_loss',
    'yolov3_loss',
]
