"""Whole models, on MMEngine's BaseModel."""

from .bottomup import BottomupPoseEstimator
from .single_stage import SingleStageDetector
from .two_stage import TwoStageDetector

__all__ = ['BottomupPoseEstimator', 'SingleStageDetector', 'TwoStageDetector']
