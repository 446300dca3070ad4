"""Training, evaluation, checkpoints and the command line around them."""

from .averaging import ExpMomentumEMA
from .build import build_model
from .checkpoint import find_resumable
from .distributed import init_distributed
from .hooks import (
    BiasWarmupHook,
    ChannelsLastHook,
    CheckpointHook,
    DrawPredictionsHook,
    NonFiniteLossHook,
    ProgressHook,
    ReportHook,
    YOLOXModeSwitchHook,
)
from .log_processor import LogProcessor
from .loops import EpochBasedTrainLoop, IterBasedTrainLoop
from .optim import CPUAmpOptimWrapper, amp_optim_wrapper
from .parallel import CPUDistributedDataParallel
from .runner import Runner
from .safe_loading import load_checkpoint_file, trust_checkpoints
from .seeding import seed_step
from .stopping import Interrupted
from .weights import PretrainedInit

__all__ = [
    'BiasWarmupHook',
    'CPUAmpOptimWrapper',
    'CPUDistributedDataParallel',
    'ChannelsLastHook',
    'CheckpointHook',
    'DrawPredictionsHook',
    'EpochBasedTrainLoop',
    'ExpMomentumEMA',
    'Interrupted',
    'IterBasedTrainLoop',
    'LogProcessor',
    'NonFiniteLossHook',
    'PretrainedInit',
    'ProgressHook',
    'ReportHook',
    'Runner',
    'YOLOXModeSwitchHook',
    'amp_optim_wrapper',
    'build_model',
    'find_resumable',
    'init_distributed',
    'load_checkpoint_file',
    'seed_step',
    'trust_checkpoints',
]
