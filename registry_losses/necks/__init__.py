"""Necks: backbone maps to the maps a head reads."""

from registry_losses.necks.csp_pafpn import YOLOXPAFPN, CSPNeXtPAFPN
from registry_losses.necks.ct_resnet_neck import CTResNetNeck
from registry_losses.necks.fpn import FPN
from registry_losses.necks.ssd_neck import L2Norm, SSDNeck
from registry_losses.necks.yolov3_neck import YOLOV3Neck
from registry_losses.necks.yolov4_csp_pan import YOLOv4CSPPAN
from registry_losses.necks.yolov5_pafpn import YOLOv5PAFPN

__all__ = [
    'FPN',
    'YOLOXPAFPN',
    'CSPNeXtPAFPN',
    'CTResNetNeck',
    'L2Norm',
    'SSDNeck',
    'YOLOV3Neck',
    'YOLOv4CSPPAN',
    'YOLOv5PAFPN',
]
