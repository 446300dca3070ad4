"""Heads: layers, priors, coder and loss terms; the template does the rest."""

from .ae_head import AEHead
from .atss_head import ATSSHead
from .bbox_head import ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from .centernet_head import CenterNetHead
from .dense_head import DenseHead
from .fcos_head import FCOSHead
from .gfl_head import GFLHead
from .openpose_head import OpenPoseHead
from .paa_head import PAAHead
from .pose_head import PoseHead
from .ppyoloe_head import PPYOLOEHead
from .proposals import Proposals, propose
from .retina_head import RetinaHead
from .roi_extractor import RoIAlign, SingleRoIExtractor
from .roi_head import RoIHead
from .rpn_head import RPNHead
from .rtmdet_head import RTMDetHead
from .ssd_head import SSDHead
from .terms.assigning import assign_and_sample
from .terms.evaluation import evaluate_terms, row_losses
from .terms.loss_inputs import LossInputs, centerness
from .terms.pairing import Pairing, check_pairing, check_terms
from .tood_head import TOODHead
from .towers import ConvTower, LevelNormTower, build_tower
from .yolo_head import YOLOHead, YOLOV3Head, YOLOV5Head
from .yolov1_head import YOLOV1Head
from .yolox_head import YOLOXHead

__all__ = [
    'AEHead',
    'ATSSHead',
    'CenterNetHead',
    'ConvFCBBoxHead',
    'ConvTower',
    'DenseHead',
    'FCOSHead',
    'GFLHead',
    'LevelNormTower',
    'LossInputs',
    'OpenPoseHead',
    'PAAHead',
    'PPYOLOEHead',
    'Pairing',
    'PoseHead',
    'Proposals',
    'RPNHead',
    'RTMDetHead',
    'RetinaHead',
    'RoIAlign',
    'RoIHead',
    'SSDHead',
    'Shared2FCBBoxHead',
    'Shared4Conv1FCBBoxHead',
    'SingleRoIExtractor',
    'TOODHead',
    'YOLOHead',
    'YOLOV1Head',
    'YOLOV3Head',
    'YOLOV5Head',
    'YOLOXHead',
    'assign_and_sample',
    'build_tower',
    'centerness',
    'check_pairing',
    'check_terms',
    'evaluate_terms',
    'propose',
    'row_losses',
]
