"""Top-level variables of a config file: is each one read?

A config file may define helpers (``data_root = 'data/'``) that its other lines use. In
the config that results they look like a misspelt key, so whether they are read is seen
in the source alone.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ..errors import ConfigError, nearest_names
from .compat import OLD_TOP_LEVEL_KEYS

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

_BASE_PLACEHOLDER = re.compile(r'\{\{\s*_base_\.(\w+)')


@dataclass
class _Source:
    """What one config file defines and reads."""

    path: Path
    defined: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    read_from_base: set[str] = field(default_factory=set)
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
        if key in TOP_LEVEL_KEYS or key.startswith('_') or key in OLD_TOP_LEVEL_KEYS:
            continue
        given = [o for o in options if o.split('.')[0] == key]
        problem = _option_problem(given[0]) if given else _problem(key, cfg, source)
        if problem:
            near = nearest_names(key, TOP_LEVEL_KEYS)
            problems.append(problem + (f' Nearest: {", ".join(near)}.' if near else ''))
    if problems:
        raise ConfigError('\n'.join(problems))


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
            if not file.bases and not file.read - {'dict'} and _occurs(cfg, key):
                return None  # a dumped config: everything is written out, nothing refers
            older = next((b for b in file.chain() if b is not file and key in b.read), None)
            if older is not None:
                return (
                    f'{key}: set in {file.path}, but only {older.path} reads it, which has already'
                    ' used its own value. Override the keys that are made from it.'
                )
            return f'{key}: no part reads this key of {file.path}.'
        derived.append(file)
    return None if source.path.suffix != '.py' else f'{key}: no part reads this key.'


def _occurs(cfg: Config, key: str) -> bool:
    wanted = cfg[key]

    def search(value: Any) -> bool:
        if value == wanted and type(value) is type(wanted):
            return True
        if isinstance(value, Mapping):
            return any(search(v) for v in value.values())
        return isinstance(value, (list, tuple)) and any(search(v) for v in value)

    return any(search(value) for name, value in cfg.items() if name != key)


def _read(path: Path) -> _Source:
    source = _Source(path)
    if path.suffix != '.py' or not path.is_file():
        return source
    text = path.read_text(encoding='utf-8')
    source.read_from_base.update(_BASE_PLACEHOLDER.findall(text))
    tree = ast.parse(text)  # a bare {{_base_.name}} is valid Python, a set in a set
    bases: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (source.read if isinstance(node.ctx, ast.Load) else source.defined).add(node.id)
        elif isinstance(node, ast.Attribute) and getattr(node.value, 'id', '') == '_base_':
            source.read_from_base.add(node.attr)
    for statement in tree.body:
        bases += _bases(statement)
    source.bases = [_read((path.parent / b).resolve()) for b in bases if '::' not in b]
    return source


def _bases(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Assign) and any(
        isinstance(t, ast.Name) and t.id == '_base_' for t in statement.targets
    ):
        value = ast.literal_eval(statement.value)
        return [value] if isinstance(value, str) else list(value)
    if isinstance(statement, ast.With):  # `with read_base(): from .a import *`
        imports = [s for s in statement.body if isinstance(s, ast.ImportFrom)]
        return [
            '../' * max(i.level - 1, 0) + str(i.module).replace('.', '/') + '.py'
            for i in imports
            if i.module and i.level
        ]
    return []
