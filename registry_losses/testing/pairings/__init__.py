"""Every pairing of parts on small detectors: which there are, and whether each trains."""

from .cells import Cell, CellResult, all_cells, change, run_cell
from .checks import Findings, examine, problems_of
from .detectors import CLASSES, GRID_HEADS, HEADS, SIZE, build, head_config
from .parts import assigner_names, loss_nodes, node, sampler_names
from .rules import RULES, places, rule_against
from .scenes import EMPTY, SCENE, Scene, gts
from .subjects import Subject

__all__ = [
    'CLASSES',
    'EMPTY',
    'GRID_HEADS',
    'HEADS',
    'RULES',
    'SCENE',
    'SIZE',
    'Cell',
    'CellResult',
    'Findings',
    'Scene',
    'Subject',
    'all_cells',
    'assigner_names',
    'build',
    'change',
    'examine',
    'gts',
    'head_config',
    'loss_nodes',
    'node',
    'places',
    'problems_of',
    'rule_against',
    'run_cell',
    'sampler_names',
]
