"""Heads: layers, slots, coder and stated losses; the template does the rest."""

from .atss_head import ATSSHead
from .centernet_head import CenterNetHead
from .dense_head import DenseHead
from .fcos_head import FCOSHead
from .loss_evaluation import evaluate_terms, row_losses
from .loss_inputs import LossInputs, centerness
from .pairing import check_pairing, check_terms
from .retina_head import RetinaHead
from .ssd_head import SSDHead
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
    'RetinaHead',
    'SSDHead',
    'YOLOHead',
    'YOLOV1Head',
    'YOLOV3Head',
    'YOLOV5Head',
    'build_tower',
    'centerness',
    'check_pairing',
    'check_terms',
    'evaluate_terms',
    'row_losses',
]
