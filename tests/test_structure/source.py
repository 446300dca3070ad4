"""What the package's own source says: its modules, and who imports whom, by the syntax tree.

Nothing is imported here, so that an import inside a function counts like any other.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = 'registry_losses'


class Import(NamedTuple):
    """One import of the package's own: who, of what, and in which line."""

    importer: str
    imported: str
    line: int


@cache
def modules() -> Mapping[str, Path]:
    """Dotted name to file of every module of the package."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


@cache
def own_imports() -> tuple[Import, ...]:
    """Every import of a module of the package by another, at any depth of the code."""
    return tuple(
        found for name, path in modules().items() for found in imports_of(name, path, modules())
    )


def imports_of(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[Import]:
    """The imports of the package in one file; ``known`` tells modules from what they hold."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(name, node, is_package=path.name == '__init__.py')
            whole = [f'{base}.{alias.name}' for alias in node.names]
            targets = [target if target in known else base for target in whole]
        else:
            continue
        for target in targets:
            if target.split('.')[0] == PACKAGE:
                yield Import(name, target, node.lineno)


def _base(name: str, node: ast.ImportFrom, *, is_package: bool) -> str:
    """The absolute name of what ``from ... import`` reads from."""
    if not node.level:
        return node.module or ''
    parts = name.split('.')
    parts = parts[: len(parts) - node.level + is_package]
    return '.'.join([*parts, node.module] if node.module else parts)


def room(module: str) -> str:
    """The part of the package in which a module stands; '' for the package itself."""
    parts = module.split('.')
    return parts[1] if len(parts) > 1 else ''


def circles(edges: Mapping[str, set[str]]) -> list[set[str]]:
    """Groups of modules that reach each other (strongly connected, by Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = set()
            while node not in group:
                group.add(stack.pop())
            if len(group) > 1:
                found.append(group)

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found
