"""Backbones: images to feature maps, from shallow to deep."""

from registry_losses.backbones.base import BaseBackbone
from registry_losses.backbones.resnet import ResNet
from registry_losses.backbones.tiny_net import TinyNet

__all__ = ['BaseBackbone', 'ResNet', 'TinyNet']
