"""Third-party components: found by entry point or named in the config, loaded once.

A package announces itself in its own metadata::

    [options.entry_points]
    registry_losses.plugins =
        my_plugin = my_package.losses

The value is a module, whose import registers what it decorates, or a function without
arguments, which is called (``my_package:register``). A package that is not installed is
named in the config: ``custom_imports = dict(imports=['my_package.losses'])``.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mmengine.utils import import_modules_from_strings

ENTRY_POINT_GROUP = 'registry_losses.plugins'


@dataclass(frozen=True)
class Plugin:
    """One entry point and what became of it.

    Attributes:
        name: Name of the entry point.
        value: What it points to, ``module`` or ``module:function``.
        distribution: Name of the installed package it comes from.
        error: Why it could not be loaded, or None.
    """

    name: str
    value: str
    distribution: str
    error: str | None = None


_loaded: dict[tuple[str, str], Plugin] = {}


def load_plugins(config: Mapping[str, Any] | None = None) -> list[Plugin]:
    """Register the components of every installed plugin, and of a config's ``custom_imports``.

    Each entry point is loaded once a process, so calling this again costs nothing. A
    plugin that fails is reported by a warning that names it: it may have nothing to do
    with the run at hand. A module in ``custom_imports`` that fails raises, unless
    ``allow_failed_imports`` is set, for the config asked for it.

    ``tools/train.py``, ``tools/test.py`` and :func:`registry_losses.config.load_config`
    call this; a script that builds components by hand calls it first.

    Args:
        config: A config, for its ``custom_imports``.

    Returns:
        All plugins found so far.
    """
    for entry_point in _entry_points():
        key = (entry_point.name, entry_point.value)
        if key not in _loaded:
            _loaded[key] = _load(entry_point)
    custom = (config or {}).get('custom_imports')
    if custom:
        import_modules_from_strings(**custom)
    return list(_loaded.values())


def _entry_points() -> Iterable[importlib.metadata.EntryPoint]:
    return importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)


def _load(entry_point: importlib.metadata.EntryPoint) -> Plugin:
    distribution = entry_point.dist.name if entry_point.dist else 'unknown'
    plugin = Plugin(entry_point.name, entry_point.value, distribution)
    try:
        loaded = entry_point.load()
        if not isinstance(loaded, ModuleType):
            loaded()
    except Exception as error:  # a stranger's code: anything may come
        message = f'{type(error).__name__}: {error}'
        warnings.warn(
            f'The plugin {plugin.name!r} ({plugin.value}, of the package {distribution!r}) could'
            f' not be loaded, so its components are missing: {message}',
            stacklevel=3,
        )
        return Plugin(plugin.name, plugin.value, distribution, message)
    return plugin
