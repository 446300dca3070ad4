"""Whole models, on MMEngine's BaseModel."""

from .bottomup import BottomupPoseEstimator
from .single_stage import SingleStageDetector

__all__ = ['BottomupPoseEstimator', 'SingleStageDetector']
