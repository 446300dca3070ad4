"""Samplers: which priors take part in the losses."""

from .base import BaseSampler, SamplingInputs, keep_only
from .budget_samplers import BudgetSampler, IoUBalancedNegSampler, OHEMSampler, RandomSampler
from .sampling_result import SamplingResult
from .simple_samplers import HardNegativeSampler, PseudoSampler

__all__ = [
    'BaseSampler',
    'BudgetSampler',
    'HardNegativeSampler',
    'IoUBalancedNegSampler',
    'OHEMSampler',
    'PseudoSampler',
    'RandomSampler',
    'SamplingInputs',
    'SamplingResult',
    'keep_only',
]
