"""Hooks: what happens around a training step."""

from .checkpoint import CheckpointHook
from .draw import DrawPredictionsHook
from .non_finite import NonFiniteLossHook
from .progress import ProgressHook

__all__ = ['CheckpointHook', 'DrawPredictionsHook', 'NonFiniteLossHook', 'ProgressHook']
