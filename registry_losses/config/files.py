"""One config file: its text, its syntax tree, and the names of what it inherits from.

Nothing is run here; :mod:`.inheritance` does that.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError
from .locations import PREFIX, configs_folder, resolve_config
from .placeholders import fill_in, is_base_placeholder, split_base_placeholders

FORMATS = ('.py', '.yml', '.yaml', '.json')


@dataclass
class ConfigFile:
    """One file and what it inherits from.

    Attributes:
        path: The file.
        text: Its text as written.
        tree: Its syntax tree, placeholders filled in; None unless it is Python.
        bases: The files that ``_base_`` names, with the scope that is not ours, or None.
        imported_bases: The files below ``read_base``, with the names that are taken.
        environment: The variables it took from the environment.
        data: What a YAML or JSON file holds.
    """

    path: Path
    text: str
    tree: ast.Module | None = None
    bases: list[tuple[Path, str | None]] = field(default_factory=list)
    imported_bases: list[tuple[Path, list[ast.alias]]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


def parse_file(path: Path) -> ConfigFile:
    """Read one file without running it or its bases.

    Raises:
        ConfigError: With file and line.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f'{path}: expected a config that ends in {", ".join(FORMATS)}')
    try:
        # A byte order mark, as some editors of Windows write it, is no part of the text.
        text = path.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path}: cannot be read as text ({error})') from error
    filled, environment = fill_in(path, text)
    file = ConfigFile(path, text, environment=environment)
    if path.suffix == '.py':
        _parse_python(file, filled)
    else:
        _parse_data(file, filled)
    return file


# Parsing ---------------------------------------------------------------------------------


def _parse_python(file: ConfigFile, text: str) -> None:
    try:
        file.tree = ast.parse(text, filename=str(file.path))
    except SyntaxError as error:
        line = (error.text or '').strip()
        raise ConfigError(f'{file.path}:{error.lineno}: {error.msg}: {line}') from error
    except ValueError as error:  # null bytes
        raise ConfigError(f'{file.path}: no Python source ({error})') from error
    kept: list[ast.stmt] = []
    for statement in file.tree.body:
        if _assigns_base(statement):
            try:
                code = compile(ast.Expression(statement.value), str(file.path), 'eval')  # type: ignore[attr-defined]
                names = eval(code, {})
            except Exception as error:  # whatever the user's expression raises
                raise ConfigError(f'{file.path}:{statement.lineno}: _base_: {error}') from error
            file.bases += _base_paths(file.path, statement.lineno, names)
        elif _is_read_base(statement):
            file.imported_bases += _imports(file.path, statement)  # type: ignore[arg-type]
        else:
            kept.append(statement)
    file.tree.body = kept
    file.tree = ast.fix_missing_locations(_BasePlaceholders().visit(file.tree))


def _parse_data(file: ConfigFile, text: str) -> None:
    try:
        data = json.loads(text) if file.path.suffix == '.json' else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f'{file.path}:{error.lineno}: {error.msg}') from error
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        where = f':{mark.line + 1}' if mark else ''
        reason = getattr(error, 'problem', None) or error
        raise ConfigError(f'{file.path}{where}: {reason}') from error
    if not isinstance(data, dict):
        raise ConfigError(f'{file.path}: expected keys and values, got {type(data).__name__}')
    file.bases = _base_paths(file.path, 1, data.pop('_base_', []))
    file.data = data


def _assigns_base(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == '_base_' for target in statement.targets
    )


def _is_read_base(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.With) or len(statement.items) != 1:
        return False
    call = statement.items[0].context_expr
    return isinstance(call, ast.Call) and getattr(call.func, 'id', '') == 'read_base'


class _BasePlaceholders(ast.NodeTransformer):
    """``{{_base_.name}}``, which Python parses as a set in a set, becomes ``_base_.name``.

    So does the quoted form; within a longer string the value's text takes its place.
    """

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str) or '_base_' not in node.value:
            return node
        parts = split_base_placeholders(node.value)
        names = [ast.parse(f'_base_.{part}', mode='eval').body for part in parts[1::2]]
        if len(parts) == 3 and not parts[0].strip() and not parts[2].strip():
            return ast.copy_location(names[0], node)
        if len(parts) == 1:
            return node
        pieces: list[ast.expr] = []
        for index, part in enumerate(parts):
            if index % 2:
                pieces.append(ast.FormattedValue(value=names[index // 2], conversion=-1))
            elif part:
                pieces.append(ast.Constant(part))
        return ast.copy_location(ast.JoinedStr(values=pieces), node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node  # an f-string writes {_base_.name} itself

    def visit_Set(self, node: ast.Set) -> ast.AST:
        inner = node.elts[0] if len(node.elts) == 1 else None
        if isinstance(inner, ast.Set) and len(inner.elts) == 1:
            name = inner.elts[0]
            if is_base_placeholder('{{' + ast.unparse(name) + '}}'):
                return name
        return self.generic_visit(node)


def _base_paths(path: Path, line: int, names: Any) -> list[tuple[Path, str | None]]:
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
        raise ConfigError(f'{path}:{line}: _base_: expected a path or a list of paths')
    found = []
    for name in names:
        try:
            found.append(_base_path(path, name))
        except ConfigError as error:
            raise ConfigError(f'{path}:{line}: _base_: {error}') from error
    return found


def _base_path(path: Path, name: str) -> tuple[Path, str | None]:
    if name.startswith(PREFIX):
        return resolve_config(name), None
    package, sign, relative = name.partition('::')
    if not sign:
        return resolve_config(path.parent / Path(name).expanduser()), None
    root = _package_folder(package)
    # OpenMMLab's packages carry their configs in .mim when installed, beside the code otherwise.
    places = (root / '.mim' / 'configs', root / 'configs', root.parent / 'configs')
    for place in places:
        if (place / relative).is_file():
            return place / relative, package
    raise ConfigError(f'no config file {name!r}; looked in {", ".join(map(str, places))}')


def _package_folder(package: str) -> Path:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigError(f'{package}:: no package {package!r} is installed')
    return Path(spec.origin).parent


def _imports(path: Path, statement: ast.With) -> list[tuple[Path, list[ast.alias]]]:
    found = []
    for item in statement.body:
        if not isinstance(item, ast.ImportFrom) or not item.module:
            raise ConfigError(
                f'{path}:{item.lineno}: within `with read_base():` only'
                ' `from ... import ...` of config files can stand'
            )
        parts = item.module.split('.')
        if item.level:
            folder = path.parent.joinpath(*['..'] * (item.level - 1))
        elif parts[:2] == ['registry_losses', 'configs']:
            folder, parts = configs_folder(), parts[2:]
        else:
            try:
                folder, parts = _package_folder(parts[0]), parts[1:]
            except ConfigError as error:
                raise ConfigError(f'{path}:{item.lineno}: {error}') from error
        base = folder.joinpath(*parts).with_suffix('.py')
        if not base.is_file():
            raise ConfigError(
                f'{path}:{item.lineno}: no config file {base}, which'
                f' `from {"." * item.level}{item.module} import ...` names'
            )
        found.append((base.resolve(), item.names))
    return found
