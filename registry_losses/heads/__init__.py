"""Heads: layers, priors, coder and stated losses; the template does the rest."""

from .ae_head import AEHead
from .atss_head import ATSSHead
from .centernet_head import CenterNetHead
from .dense_head import DenseHead
from .fcos_head import FCOSHead
from .openpose_head import OpenPoseHead
from .pose_head import PoseHead
from .retina_head import RetinaHead
from .ssd_head import SSDHead
from .terms.assigning import assign_and_sample
from .terms.evaluation import evaluate_terms, row_losses
from .terms.loss_inputs import LossInputs, centerness
from .terms.pairing import Pairing, check_pairing, check_terms
from .towers import ConvTower, LevelNormTower, build_tower
from .yolo_head import YOLOHead, YOLOV3Head, YOLOV5Head
from .yolov1_head import YOLOV1Head

__all__ = [
    'AEHead',
    'ATSSHead',
    'CenterNetHead',
    'ConvTower',
    'DenseHead',
    'FCOSHead',
    'LevelNormTower',
    'LossInputs',
    'OpenPoseHead',
    'Pairing',
    'PoseHead',
    'RetinaHead',
    'SSDHead',
    'YOLOHead',
    'YOLOV1Head',
    'YOLOV3Head',
    'YOLOV5Head',
    'assign_and_sample',
    'build_tower',
    'centerness',
    'check_pairing',
    'check_terms',
    'evaluate_terms',
    'row_losses',
]
