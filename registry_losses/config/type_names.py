"""Values of Python configs as plain data: classes as registered names, paths as text.

A config holds what can be written down, for its copy in the work directory is read again.
"""

from __future__ import annotations

import inspect
import os
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.registry import Registry

from ..errors import ConfigError
from ..registry import ALL_REGISTRIES, SCOPE


def with_type_names(value: Any) -> Any:
    """A copy of a config's values in which every class and function is a name.

    So what follows (translation, checks, overrides on the command line, the copy in the work
    directory) sees one form.

    Example:
        >>> from registry_losses.losses import FocalLoss
        >>> with_type_names(dict(type=FocalLoss, gamma=2.0))
        {'type': 'FocalLoss', 'gamma': 2.0}
    """
    if isinstance(value, dict):
        named = {key: with_type_names(item) for key, item in value.items()}
        return ConfigDict(named) if isinstance(value, ConfigDict) else named
    if isinstance(value, list):
        return [with_type_names(item) for item in value]
    if type(value) is tuple:
        return tuple(with_type_names(item) for item in value)
    if inspect.isclass(value) or inspect.isfunction(value):
        return type_name(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, torch.dtype):
        return str(value).removeprefix('torch.')
    if isinstance(value, partial):
        raise ConfigError(f'{value!r}: write its arguments beside the type, as keys of the node')
    return value


def type_name(found: Any) -> Any:
    """The registered name of a class or function; else its place, ``package.module.Name``.

    What has neither (a lambda, a class within a function) stays what it is.
    """
    registries: list[Registry] = [*ALL_REGISTRIES]
    registries += [r.parent for r in ALL_REGISTRIES if r.parent is not None]
    registries += [c for r in registries[:] for c in r.root.children.values()]
    for registry in registries:
        for name, registered in registry.module_dict.items():
            if registered is found:
                return name if registry.scope in (SCOPE, 'mmengine') else f'{registry.scope}.{name}'
    place = f'{found.__module__}.{found.__qualname__}'
    return found if '<' in place else place
