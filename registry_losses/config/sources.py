"""Top-level variables of a config file: is each one read?

A config file may define helpers (``data_root = 'data/'``) that its other lines use. In
the config that results they look like a misspelt key, so whether they are read is seen
in the source alone.
"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ..errors import ConfigError, nearest_names
from .compat import DROPPED_TOP_LEVEL_KEYS, OLD_TOP_LEVEL_KEYS
from .files import parse_file

# Read by MMEngine's runner from the config itself, beside the arguments of its constructor.
_READ_BY_THE_RUNNER = (
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
)

TOP_LEVEL_KEYS = frozenset(
    name for name in inspect.signature(Runner.__init__).parameters if name not in ('self', 'cfg')
) | frozenset(_READ_BY_THE_RUNNER)
"""The keys that the runner reads."""


_OPENMMLAB_KEYS = OLD_TOP_LEVEL_KEYS.keys() | DROPPED_TOP_LEVEL_KEYS.keys()


@dataclass
class _Source:
    """What one config file defines and reads."""

    path: Path
    defined: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    read_from_base: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    bases: list[_Source] = field(default_factory=list)

    def chain(self) -> Iterable[_Source]:
        """This file, then its bases, nearest first."""
        yield self
        for base in self.bases:
            yield from base.chain()


def check_variables(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse top-level keys that neither the runner nor another line of the files reads.

    Args:
        cfg: The config; its files are read where it came from files.
        options: What ``--cfg-options`` set, by dotted key.

    Raises:
        ConfigError: Naming every such key, with the nearest valid one.
    """
    source = _read(Path(cfg.filename)) if cfg.filename else None
    problems = []
    for key in cfg:
        if key in TOP_LEVEL_KEYS or key.startswith('_') or key in _OPENMMLAB_KEYS:
            continue
        given = [o for o in options if o.split('.')[0] == key]
        problem = _option_problem(given[0]) if given else _problem(key, cfg, source)
        if problem:
            near = nearest_names(key, TOP_LEVEL_KEYS)
            problems.append(problem + (f' Nearest: {", ".join(near)}.' if near else ''))
    if problems:
        raise ConfigError('\n'.join(problems))


def helpers_of(cfg: Config) -> frozenset[str]:
    """Top-level keys that other lines of the config's files read."""
    source = _read(Path(cfg.filename)) if cfg.filename else None
    return frozenset(key for key in cfg if source is not None and not _problem(key, cfg, source))


def _option_problem(option: str) -> str:
    return (
        f'--cfg-options {option}: no part reads this key. If it is a variable of the config file,'
        ' the values made from it are fixed by the time options apply: set the keys that use it.'
    )


def _problem(key: str, cfg: Config, source: _Source | None) -> str | None:
    if source is None:
        return f'{key}: no part reads this key.'
    derived: list[_Source] = []
    for file in source.chain():
        if key in file.defined:
            if key in file.read or any(key in d.read_from_base for d in derived):
                return None
            if (
                not file.bases
                and not file.read - {'dict', 'inf', 'nan'}
                and _left_over(cfg, key, file)
            ):
                return None
            older = next((b for b in file.chain() if b is not file and key in b.read), None)
            if older is not None:
                return (
                    f'{key}: set in {file.path}, but only {older.path} reads it, which has already'
                    ' used its own value. Override the keys that are made from it.'
                )
            return f'{key}: no part reads this key of {file.path}.'
        derived.append(file)
    return None if source.path.suffix != '.py' else f'{key}: no part reads this key.'


def _left_over(cfg: Config, key: str, file: _Source) -> bool:
    """Whether ``key`` of a file that refers to nothing was a helper before it was written out.

    The copy of a config that a training leaves in its work directory has every value in
    full. There a helper is known by its value, which stands elsewhere too, or by the form
    of such copies: many keys, sorted by name. A name next to a valid one stays a slip.
    """
    if _occurs(cfg[key], {name: value for name, value in cfg.items() if name != key}):
        return True
    keys = [name for name in file.order if name in file.defined]
    written_out = len(keys) >= 4 and keys == sorted(keys)
    return written_out and not difflib.get_close_matches(key, TOP_LEVEL_KEYS, n=1, cutoff=0.85)


def _occurs(wanted: Any, value: Any) -> bool:
    if value == wanted and type(value) is type(wanted):
        return True
    if isinstance(wanted, str) and isinstance(value, str):
        return len(wanted) > 2 and wanted in value  # a root, within the paths made from it
    if isinstance(value, Mapping):
        return any(_occurs(wanted, item) for item in value.values())
    return isinstance(value, (list, tuple)) and any(_occurs(wanted, item) for item in value)


def _read(path: Path) -> _Source:
    source = _Source(path)
    if path.suffix != '.py' or not path.is_file():
        return source
    file = parse_file(path)
    assert file.tree is not None
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Name):
            (source.read if isinstance(node.ctx, ast.Load) else source.defined).add(node.id)
        elif isinstance(node, ast.Attribute) and getattr(node.value, 'id', '') == '_base_':
            source.read_from_base.add(node.attr)
    for statement in file.tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            source.order.append(statement.targets[0].id)
    # Star imports make one namespace of several files: what one reads, the other defines.
    source.bases = [_read(p) for p, _ in file.bases]
    for imported, _ in file.imported_bases:
        base = _read(imported)
        base.read |= source.read
        source.bases.append(base)
    return source
