"""From a name or path to a config that is ready to build."""

from __future__ import annotations

import copy
import difflib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError
from ..plugins import load_plugins
from .check import check_config
from .compat import translate_config
from .sources import check_variables

PREFIX = 'registry_losses::'
FORMATS = ('.py', '.yml', '.yaml', '.json')


def configs_folder() -> Path:
    """The folder of the configs that come with the package.

    In an installed package it is ``registry_losses/configs``, in a checkout ``configs``.
    """
    root = Path(importlib.util.find_spec('registry_losses').origin).parent  # type: ignore
    for folder in (root / 'configs', root.parent / 'configs'):
        if folder.is_dir():
            return folder
    raise ConfigError(f'no configs folder found beside {root}')


def resolve_config(name: str | os.PathLike) -> Path:
    """The file that ``name`` stands for.

    Args:
        name: A path, or ``registry_losses::retinanet/retinanet_tiny_digits.py`` for a
            config that came with the package. Stands for MMEngine's ``pkg::path``, which
            knows OpenMMLab's packages only.

    Raises:
        ConfigError: With the nearest names.
    """
    text = os.fspath(name)
    if text.startswith(PREFIX):
        folder, relative = configs_folder(), text[len(PREFIX) :]
        path = folder / relative
        if not path.is_file() and not relative.endswith('.py'):
            path = folder / f'{relative}.py'
    else:
        path = Path(text).expanduser()
        folder, relative = path.parent, path.name
    if path.is_file():
        return path
    there = (
        [p.relative_to(folder).as_posix() for p in folder.rglob('*.py')] if folder.is_dir() else []
    )
    near = difflib.get_close_matches(relative, there, n=3, cutoff=0.4)
    hint = f' Nearest: {", ".join(near)}.' if near else ''
    raise ConfigError(f'no config file {text!r}.{hint}')


def load_config(
    config: str | os.PathLike | Config, *, options: dict[str, Any] | None = None, check: bool = True
) -> Config:
    """Read a config, load the plugins it needs, translate and check it.

    Args:
        config: A path, a ``registry_losses::`` name, or a config.
        options: Dotted keys and values that override the file's. A dict whose ``type``
            differs from the one in the file takes that node's place whole.
        check: Refuse keys that no part reads.

    Returns:
        A config whose keys are all read by a part.

    Raises:
        ConfigError: If a key, type or value is wrong; with its full path.
    """
    cfg = config if isinstance(config, Config) else _read(resolve_config(config))
    if options:
        cfg.merge_from_dict(_replacing(cfg, options))
    import registry_losses  # noqa: F401  (registers everything)

    load_plugins(cfg)
    cfg.setdefault('default_scope', 'registry_losses')
    if check:
        check_variables(cfg, options or {})
        translate_config(cfg)
        check_config(cfg)
    return cfg


def _read(path: Path) -> Config:
    """The config in a file.

    Raises:
        ConfigError: If it is no config, holds no Python, or imports what is not there.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f'{path}: expected a config that ends in {", ".join(FORMATS)}')
    try:
        return Config.fromfile(str(path))
    except SyntaxError as error:
        raise ConfigError(f'{path}, or a file it inherits from: {error}') from error
    except ImportError as error:
        cause: BaseException = error
        while cause.__cause__ or cause.__context__:
            cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
        raise ConfigError(
            f'{path}: cannot import what it names: {cause}; modules are looked for among the '
            'installed packages and in the folders of PYTHONPATH'
        ) from error


def _replacing(cfg: Config, options: dict[str, Any]) -> dict[str, Any]:
    """A copy of the options in which a node of another type replaces the old one.

    Its old neighbours belong to the old type; MMEngine would keep them.
    """
    result = copy.deepcopy(options)  # MMEngine consumes `_delete_` in place
    for path, value in result.items():
        node: Any = cfg._cfg_dict
        for name in path.split('.'):
            node = node.get(name) if isinstance(node, Mapping) else None
        if not isinstance(value, dict) or not isinstance(node, Mapping):
            continue
        if value.get('type', node.get('type')) != node.get('type'):
            value.setdefault('_delete_', True)
    return result
