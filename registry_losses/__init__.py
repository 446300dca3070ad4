"""Losses, assigners, samplers, coders and heads that pair freely from one config.

Importing the package registers everything it has, in scope ``registry_losses``.
"""

import sys as _sys
from importlib import import_module as _import_module
from pathlib import PurePath as _PurePath

from ._version import __version__
from .errors import MissingDependencyError as _MissingDependencyError


def _require_mmcv() -> None:
    """Raise unless MMCV 2.x is installed, in either of its two forms."""
    wanted = (
        'registry_losses needs MMCV 2.1 or later. `pip install mmcv-lite` is enough and compiles'
        ' nothing; `pip install mmcv` (the full package, with compiled operators) serves as well.'
        ' Install one of the two, not both.'
    )
    try:
        mmcv = _import_module('mmcv')
    except ImportError as error:
        raise _MissingDependencyError(f'{wanted} Importing mmcv failed: {error}') from error
    version = getattr(mmcv, '__version__', '')
    major = version.split('.')[0]
    if not major.isdigit() or int(major) < 2:
        raise _MissingDependencyError(f'{wanted} Found version {version!r}.')


# In the order of the layers: what stands further down may import what stands above it.
_SUBPACKAGES = (
    'structures',
    'ops',
    'losses',
    'priors',
    'coders',
    'samplers',
    'assigners',
    'heads',
    'backbones',
    'necks',
    'detectors',
    'datasets',
    'transforms',
    'evaluation',
    'visualization',
    'engine',
)


def load_parts() -> None:
    """Import every subpackage, which registers what it has; importing the package does so."""
    _require_mmcv()
    for name in _SUBPACKAGES:
        _import_module(f'{__name__}.{name}')


def _only_help() -> bool:
    """Whether this process is one of our command lines and shows its help alone."""
    program = _PurePath(_sys.argv[0] if _sys.argv else '')
    ours = program.name.startswith('registry-losses-') or program.parent.name == 'tools'
    return ours and bool({'-h', '--help'} & set(_sys.argv[1:]))


# Loading PyTorch takes seconds, which `tools/train.py --help` need not wait for; where the
# process turns out to do more, commands/cli.py calls load_parts.
if not _only_help():
    load_parts()


def __getattr__(name: str) -> object:
    # Reads configs and checkpoints, which a training of other code has no use for.
    if name == 'Detector':
        return _import_module(f'{__name__}.commands.detector').Detector
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


__all__ = ['Detector', '__version__', 'load_parts']
