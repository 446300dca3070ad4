"""Losses, assigners, samplers, coders and heads that pair freely from one config.

Importing the package registers everything it has, in scope ``registry_losses``.
"""

from importlib import import_module as _import_module

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


_require_mmcv()

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
for _name in _SUBPACKAGES:
    _import_module(f'{__name__}.{_name}')

__all__ = ['__version__']
