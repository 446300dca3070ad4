"""Whole models, on MMEngine's BaseModel."""

from .single_stage import SingleStageDetector

__all__ = ['SingleStageDetector']
