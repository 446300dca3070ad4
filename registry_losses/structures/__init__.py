"""The value types that heads, assigners, samplers and losses exchange."""

from .assignment import Assignment, SoftEntries, SoftMap
from .class_targets import ClassTargets
from .det_data_sample import DetDataSample
from .ground_truth import GroundTruth, findable
from .head_output import Branch, HeadOutput, flatten_maps
from .loss_term import LossTerm
from .predictions import Predictions
from .priors import Level, Priors, grid_points, level_strides

__all__ = [
    'Assignment',
    'Branch',
    'ClassTargets',
    'DetDataSample',
    'GroundTruth',
    'HeadOutput',
    'Level',
    'LossTerm',
    'Predictions',
    'Priors',
    'SoftEntries',
    'SoftMap',
    'findable',
    'flatten_maps',
    'grid_points',
    'level_strides',
]
