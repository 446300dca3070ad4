"""Imports point downward, in no circle, and losses and assigners never meet."""

import ast
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from .source import PACKAGE, ROOT, circles, imports_of, modules, own_imports, room

# Lower floors first; a room imports from floors below its own. The rooms that hold the
# mathematics and the models know nothing of data sets, runs and command lines (AROUND).
FLOORS = (
    ('errors', '_version'),
    ('structures', 'registry', 'plugins'),
    ('ops',),
    ('losses', 'priors', 'coders', 'samplers', 'assigners', 'datasets', 'transforms', 'config'),
    ('backbones', 'evaluation', 'pose'),
    ('necks', 'heads', 'visualization'),
    ('detectors',),
    ('engine', 'deploy'),
    ('testing',),  # of the commands, the pairing grid and the pages made of references
    ('commands',),
)
AROUND = {
    'datasets', 'transforms', 'config', 'evaluation', 'visualization', 'engine', 'deploy',
    'commands', 'testing', 'plugins',
}  # fmt: skip
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
# Loading plugins for a config means importing what came with the package first.
WHOLE_PACKAGE = {'config', 'commands'}


def test_every_room_has_a_floor():
    rooms = {room(name) for name in modules()} - {''}
    assert rooms <= set(FLOOR), f'say in FLOORS where these belong: {sorted(rooms - set(FLOOR))}'


def test_imports_point_downward():
    wrong = []
    for found in own_imports():
        here, there = room(found.importer), room(found.imported)
        if here == there or not here:
            continue
        if not there and here in WHOLE_PACKAGE:
            continue
        upward = not there or FLOOR[there] >= FLOOR[here]
        outward = there in AROUND and here not in AROUND
        if upward or outward:
            wrong.append(f'{found.importer}:{found.line} imports {found.imported}')
    assert not wrong, '\n'.join(wrong)


def test_losses_and_assigners_never_import_each_other():
    # Their floor forbids it already; this stays when floors are redrawn.
    pairs = {(room(found.importer), room(found.imported)) for found in own_imports()}
    assert not pairs & {('losses', 'assigners'), ('assigners', 'losses')}


def test_no_circle_among_modules():
    edges = defaultdict(set)
    for found in own_imports():
        if found.importer != found.imported and found.imported != PACKAGE:
            edges[found.importer].add(found.imported)
    wrong = [sorted(group) for group in circles(edges)]
    assert not wrong, wrong


def test_no_part_reads_the_package_it_stands_in():
    """``from . import x`` inside a package would lean on the order of its imports."""
    wrong = [
        f'{found.importer}:{found.line}'
        for found in own_imports()
        if found.importer != PACKAGE
        and found.importer.startswith(f'{found.imported}.')
        and found.imported != PACKAGE
    ]
    assert not wrong, wrong


def test_the_registry_imports_mmengine_and_errors_only():
    # An ImportError while it loads would look like a type that no registry holds.
    path = modules()[f'{PACKAGE}.registry']
    tree = ast.parse(path.read_text(encoding='utf-8'))
    allowed = {'mmengine', *sys.stdlib_module_names}
    outside = {
        (node.module or '').split('.')[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level
    }
    assert outside <= allowed
    own = {found.imported for found in own_imports() if found.importer == f'{PACKAGE}.registry'}
    assert own <= {f'{PACKAGE}.errors'}


def scripts() -> list[Path]:
    """Command lines and the worked plugin, which stand outside the package."""
    return sorted([*(ROOT / 'tools').rglob('*.py'), *(ROOT / 'projects').rglob('*.py')])


@pytest.mark.parametrize('path', scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_tools_and_projects_import_public_modules(path):
    private = [
        f'line {found.line}: {found.imported}'
        for found in imports_of(path.stem, path, modules())
        if any(part.startswith('_') for part in found.imported.split('.'))
    ]
    assert not private
    names = [
        f'line {node.lineno}: {alias.name} of {node.module}'
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith(PACKAGE)
        for alias in node.names
        if alias.name.startswith('_')
    ]
    assert not names


def test_the_package_never_imports_tools_or_projects():
    outside = {path.stem for path in scripts()} | {'tools', 'projects', 'tests'}
    standard = set(sys.stdlib_module_names)
    wrong = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or '']
            heads = {n.split('.')[0] for n in names}
            wrong += [f'{name}: {n}' for n in heads & outside - standard]
    assert not wrong


@pytest.mark.parametrize(
    ('edges', 'expected'),
    [
        ({'a': {'b'}, 'b': {'c'}, 'c': set()}, []),
        ({'a': {'b'}, 'b': {'c'}, 'c': {'a'}, 'd': {'a'}}, [{'a', 'b', 'c'}]),
        ({'a': {'b', 'c'}, 'b': {'a'}, 'c': {'d'}, 'd': {'c'}}, [{'c', 'd'}, {'a', 'b'}]),
    ],
)
def test_circles_are_found(edges, expected):
    assert circles(edges) == expected


def test_imports_inside_functions_are_found(tmp_path):
    path = tmp_path / 'focal.py'
    path.write_text('def f():\n    from ..assigners import base\n    import registry_losses.ops\n')
    found = imports_of(f'{PACKAGE}.losses.focal', path, {f'{PACKAGE}.assigners.base': path})
    assert [tuple(i) for i in found] == [
        (f'{PACKAGE}.losses.focal', f'{PACKAGE}.assigners.base', 2),
        (f'{PACKAGE}.losses.focal', f'{PACKAGE}.ops', 3),
    ]
