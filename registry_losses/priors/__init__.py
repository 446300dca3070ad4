"""Prior generators: where the priors of a head lie."""

from .anchor_generator import AnchorGenerator, YOLOAnchorGenerator, anchors_around
from .base import BasePriorGenerator
from .point_generator import MlvlPointGenerator
from .ssd_anchor_generator import SSDAnchorGenerator, ssd_sizes

__all__ = [
    'AnchorGenerator',
    'BasePriorGenerator',
    'MlvlPointGenerator',
    'SSDAnchorGenerator',
    'YOLOAnchorGenerator',
    'anchors_around',
    'ssd_sizes',
]
