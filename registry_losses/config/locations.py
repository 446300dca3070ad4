"""Where config files are: paths, ``registry_losses::`` names, and names of former releases."""

from __future__ import annotations

import difflib
import importlib.util
import os
import warnings
from pathlib import Path

from ..errors import ConfigError

PREFIX = 'registry_losses::'


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
            config that came with the package. ``*_seed_*`` is the former name of what is
            ``*_paper_*`` now, and still found.

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
    if not path.name:
        raise ConfigError(f'expected a config file, got {text!r}')
    renamed = path.with_name(path.name.replace('_seed_', '_paper_'))
    if renamed.is_file():
        warnings.warn(
            f'{path.name} is called {renamed.name} now; the old name goes with the next release',
            DeprecationWarning,
            stacklevel=2,
        )
        return renamed
    # Only our own folder is searched to its depth: a user's path may begin at the root.
    files = folder.rglob('*.py') if text.startswith(PREFIX) else folder.glob('*.*')
    there = [p.relative_to(folder).as_posix() for p in files] if folder.is_dir() else []
    near = difflib.get_close_matches(relative, there, n=3, cutoff=0.4)
    hint = f' Nearest: {", ".join(near)}.' if near else ''
    raise ConfigError(f'no config file {text!r}.{hint}')
