"""The small detectors and what a pairing has to do, for the tests of this folder."""

from registry_losses.testing.pairings import (
    CLASSES,
    EMPTY,
    HEADS,
    SCENE,
    SIZE,
    Scene,
    Subject,
    build,
    gts,
    head_config,
    loss_nodes,
    node,
    problems_of,
)

__all__ = [
    'CLASSES',
    'EMPTY',
    'HEADS',
    'SCENE',
    'SIZE',
    'Scene',
    'Subject',
    'build',
    'gts',
    'head_config',
    'loss_nodes',
    'node',
    'problems_of',
]
