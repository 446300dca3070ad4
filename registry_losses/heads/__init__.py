"""Heads: layers, priors, coder and stated losses; the template does the rest."""

from .atss_head import ATSSHead
from .centernet_head import CenterNetHead
from .dense_head import DenseHead
from .fcos_head import FCOSHead
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
    'ATSSHead',
    'CenterNetHead',
    'ConvTower',
    'DenseHead',
    'FCOSHead',
    'LevelNormTower',
    'LossInputs',
    'Pairing',
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
