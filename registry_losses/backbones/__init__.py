"""Backbones: images to feature maps, from shallow to deep."""

from registry_losses.backbones.base import BaseBackbone
from registry_losses.backbones.csp_darknet import CSPDarknet, CSPNeXt
from registry_losses.backbones.darknet import Darknet
from registry_losses.backbones.hrnet import HRNet, hrnet_extra
from registry_losses.backbones.resnet import ResNet
from registry_losses.backbones.ssd_vgg import SSDVGG
from registry_losses.backbones.timm_backbone import TIMMBackbone
from registry_losses.backbones.tiny_net import TinyNet
from registry_losses.backbones.vgg import VGG
from registry_losses.backbones.yolov1_darknet import YOLOV1Darknet
from registry_losses.backbones.yolov4_csp_darknet import YOLOv4CSPDarknet
from registry_losses.backbones.yolov5_csp_darknet import YOLOv5CSPDarknet

__all__ = [
    'SSDVGG',
    'VGG',
    'BaseBackbone',
    'CSPDarknet',
    'CSPNeXt',
    'Darknet',
    'HRNet',
    'ResNet',
    'TIMMBackbone',
    'TinyNet',
    'YOLOV1Darknet',
    'YOLOv4CSPDarknet',
    'YOLOv5CSPDarknet',
    'hrnet_extra',
]
