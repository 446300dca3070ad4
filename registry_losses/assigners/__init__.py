"""Assigners: which slot answers for which ground truth."""

from .base import BaseAssigner
from .bridge import AssignResult
from .max_iou import MaxIoUAssigner

__all__ = ['AssignResult', 'BaseAssigner', 'MaxIoUAssigner']
