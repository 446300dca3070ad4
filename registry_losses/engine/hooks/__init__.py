"""Hooks: what happens around a training step."""

from .bias_warmup import BiasWarmupHook
from .channels_last import ChannelsLastHook
from .check_classes import CheckClassesHook
from .checkpoint import CheckpointHook
from .draw import DrawPredictionsHook, ReportHook
from .mode_switch import YOLOXModeSwitchHook
from .non_finite import NonFiniteLossHook
from .pose_maps import PoseMapsHook
from .progress import ProgressHook
from .stop import StopValidationHook

__all__ = [
    'BiasWarmupHook',
    'ChannelsLastHook',
    'CheckClassesHook',
    'CheckpointHook',
    'DrawPredictionsHook',
    'NonFiniteLossHook',
    'PoseMapsHook',
    'ProgressHook',
    'ReportHook',
    'StopValidationHook',
    'YOLOXModeSwitchHook',
]
