"""A config file with everything it inherits, as one config.

Stands for MMEngine's ``Config.fromfile``, whose pure-Python configs need ``pkg_resources``
and a standard library beside the interpreter, whose ``pkg::path`` knows OpenMMLab's packages
alone, and whose errors seldom say which of several files is meant. Both styles are read, and
may inherit from each other::

    _base_ = ['registry_losses::_base_/default_runtime.py', './model.py']   # merged key by key

    with read_base():                                                       # Python's own rules
        from .model import *
"""

from __future__ import annotations

import ast
import copy
import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from io import IOBase
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from mmengine.config import Config, ConfigDict

from ..errors import ConfigError
from .files import ConfigFile, parse_file
from .formatted import FormattedConfig
from .placeholders import is_base_placeholder
from .type_names import with_type_names


def read_config(path: Path) -> Config:
    """The config in a file, its bases merged in.

    Raises:
        ConfigError: With file and line, if it or a base cannot be read.
    """
    try:
        loaded = _load(path, ())
        values = with_type_names(loaded.values)
    except RecursionError as error:
        raise ConfigError(f'{path}: a list or dict in it contains itself') from error
    for key in _RESERVED:
        if key in values:
            raise ConfigError(f'{path}: {key}: this name is taken by the config itself; rename it')
    texts = '\n'.join(f'{file.path}\n{file.text}' for file in loaded.files)
    environment: dict[str, str] = {}
    for file in loaded.files:
        environment.update(file.environment)
    return FormattedConfig(values, cfg_text=texts, filename=str(path), env_variables=environment)


# As Python writes the floats that have no literal: in the copies of configs.
_NUMBERS: Mapping[str, float] = {'inf': math.inf, 'nan': math.nan}
_RESERVED = ('filename', 'text', 'pretty_text', 'env_variables')


@dataclass
class _Loaded:
    values: dict[str, Any]
    imports: dict[str, Any]
    files: list[ConfigFile]


def _load(path: Path, above: tuple[Path, ...]) -> _Loaded:
    """What a file defines, with what it inherits, and every file that was read."""
    resolved = path.resolve()
    if resolved in above:
        raise ConfigError(f'{path}: inherits from itself, by {" -> ".join(map(str, above))}')
    above = (*above, resolved)
    file = parse_file(path)
    base = ConfigDict()
    files: list[ConfigFile] = []
    origin: dict[str, Path] = {}
    for base_path, scope in file.bases:
        loaded = _load(base_path, above)
        for key in loaded.values:
            if key in origin:
                raise ConfigError(
                    f'{path}: its bases {origin[key]} and {base_path} both define {key!r}; let one'
                    ' inherit from the other'
                )
            origin[key] = base_path
        base.update(Config._dict_to_config_dict(loaded.values, scope))
        files += loaded.files
    imports: dict[str, Any] = {}
    if file.tree is None:
        own = _with_base_values(path, file.data, base)
    else:
        own, imports, more = _run(file, base, above)
        files += more
    try:
        values = Config._merge_a_into_b(_unshared(own), base)
    except TypeError as error:
        raise ConfigError(f'{path}: {error}') from error
    values.pop('_base_', None)
    return _Loaded(values, imports, [*files, file])


def _run(
    file: ConfigFile, base: ConfigDict, above: tuple[Path, ...]
) -> tuple[dict[str, Any], dict[str, Any], list[ConfigFile]]:
    """Run a Python file; return what it defines, what it imports, and the files imported."""
    names: dict[str, Any] = {'__file__': str(file.path), '__name__': file.path.stem, **_NUMBERS}
    files: list[ConfigFile] = []
    imported: set[str] = set()
    for base_path, aliases in file.imported_bases:
        loaded = _load(base_path, above)
        files += loaded.files
        values = Config._dict_to_config_dict(copy.deepcopy(loaded.values))
        for alias in aliases:
            if alias.name == '*':
                names.update({k: v for k, v in values.items() if not k.startswith('_')})
                names.update(loaded.imports)
                imported |= set(loaded.imports)
            elif alias.name in values or alias.name in loaded.imports:
                pool = values if alias.name in values else loaded.imports
                names[alias.asname or alias.name] = pool[alias.name]
            else:
                raise ConfigError(f'{file.path}: {base_path} defines no {alias.name!r}')
    names['_base_'] = base
    assert file.tree is not None
    for node in ast.walk(file.tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported |= {(a.asname or a.name).partition('.')[0] for a in node.names}
    try:
        exec(compile(file.tree, str(file.path), 'exec'), names)
    except (ConfigError, RecursionError):
        raise
    except (Exception, SystemExit) as error:  # whatever the user's lines raise
        raise ConfigError(f'{_where(file, error)}: {_reason(error)}') from error
    own = {
        key: value
        for key, value in names.items()
        if not key.startswith('__')
        and key != '_base_'
        and key not in imported
        and not (key in _NUMBERS and value is _NUMBERS[key])
        and not isinstance(value, (FunctionType, ModuleType, type, IOBase))
    }
    imports = {key: names[key] for key in imported if key in names}
    return own, imports, files


def _unshared(value: Any) -> Any:
    """A copy in which ``test_dataloader = val_dataloader`` are two dicts.

    Merging takes ``_delete_`` out of the dict that holds it: of a shared one, once.
    """
    if isinstance(value, dict):
        return type(value)({key: _unshared(item) for key, item in value.items()})
    if type(value) in (list, tuple):
        return type(value)(_unshared(item) for item in value)
    return value


def _where(file: ConfigFile, error: BaseException) -> str:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__)]
    names = [f.filename for f in traceback.extract_tb(error.__traceback__)]
    own = [line for line, name in zip(lines, names) if name == str(file.path)]
    return f'{file.path}:{own[-1]}' if own else str(file.path)


def _reason(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return import_reason(error)
    return f'{type(error).__name__}: {error}'


def import_reason(error: ImportError) -> str:
    """What could not be imported, and where modules are looked for."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    if 'relative import' in str(cause):
        return 'a relative import stands within `with read_base():`'
    return (
        f'cannot import what it names: {cause}; modules are looked for among the installed'
        ' packages and in the folders of PYTHONPATH'
    )


def _with_base_values(path: Path, value: Any, base: ConfigDict) -> Any:
    """A copy in which each ``'{{_base_.name}}'`` of a YAML or JSON file is that value."""
    if isinstance(value, dict):
        return {k: _with_base_values(path, v, base) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_base_values(path, v, base) for v in value]
    name = is_base_placeholder(value) if isinstance(value, str) else None
    if not name:
        return value
    found: Any = base
    for part in name.split('.'):
        if not isinstance(found, Mapping) or part not in found:
            raise ConfigError(f'{path}: {value}: the bases define no {name!r}')
        found = found[part]
    return copy.deepcopy(found)
