"""Losses, in the registry MODELS, and their functional forms."""

from .base import BaseLoss
from .cross_entropy import CrossEntropyLoss
from .focal import FocalLoss
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
from .reduction import reduce_loss

__all__ = [
    'BalancedL1Loss',
    'BaseLoss',
    'CrossEntropyLoss',
    'FocalLoss',
    'L1Loss',
    'MSELoss',
    'SmoothL1Loss',
    'balanced_l1_loss',
    'l1_loss',
    'mse_loss',
    'reduce_loss',
    'smooth_l1_loss',
]
