"""Heads: layers, slots, coder and stated losses; the template does the rest."""

from .dense_head import DenseHead
from .loss_evaluation import check_terms, evaluate_terms, row_losses
from .loss_inputs import LossInputs, centerness
from .retina_head import RetinaHead
from .towers import ConvTower, LevelNormTower, build_tower

__all__ = [
    'ConvTower',
    'DenseHead',
    'LevelNormTower',
    'LossInputs',
    'RetinaHead',
    'build_tower',
    'centerness',
    'check_terms',
    'evaluate_terms',
    'row_losses',
]
