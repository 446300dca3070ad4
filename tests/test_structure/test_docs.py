"""What README and docs say about the code is so: links, paths, numbers, words."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from registry_losses import structures
from registry_losses.registry import MODELS, TASK_UTILS
from registry_losses.structures.loss_term import Kind
from registry_losses.testing.pairings.parts import assigner_names, sampler_names

from .source import PACKAGE, ROOT, modules, room
from .test_imports import FLOOR

PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
ARCHITECTURE = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
GLOSSARY = (ROOT / 'docs' / 'glossary.md').read_text(encoding='utf-8')


def heading_anchors(page: Path) -> set[str]:
    found = re.findall(r'^#+ (.*)$', page.read_text(encoding='utf-8'), re.M)
    return {re.sub(r'[^\w\- ]', '', text).strip().lower().replace(' ', '-') for text in found}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding='utf-8')
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if '://' in target:
            continue
        name, _, anchor = target.partition('#')
        path = page.parent / name if name else page
        assert path.exists(), f'{page.name}: {target}'
        if anchor and path.suffix == '.md':
            assert anchor in heading_anchors(path), f'{page.name}: {target}'


def paths_of(text: str) -> list[str]:
    """Code spans that name a file or folder."""
    spans = re.findall(r'`([\w/.]+)`', text)
    return [span for span in spans if span.endswith(('.py', '/'))]


def test_the_architecture_names_files_that_there_are():
    found = paths_of(ARCHITECTURE)
    assert len(found) > 30
    for span in found:
        pattern = span.replace('NAME', '*').rstrip('/')
        roots = [ROOT / PACKAGE, ROOT]
        assert any(
            list(r.glob(pattern)) or list(r.rglob(pattern) if '/' not in pattern else ())
            for r in roots
        ), span


def test_the_readme_names_files_that_there_are():
    for span in paths_of(README[README.index('## Find your way') :]):
        roots = [ROOT, *(ROOT / PACKAGE / folder for folder in ('.', 'losses', 'assigners'))]
        assert any((root / span).exists() for root in roots), span


def test_the_contract_has_every_value_type():
    table = ARCHITECTURE[ARCHITECTURE.index('## The contract') : ARCHITECTURE.index('## Rooms')]
    rows = re.findall(r'^\| `(\w+)` \|', table, re.M)
    assert all(hasattr(structures, name) for name in rows)
    meeting = {'Priors', 'GroundTruth', 'HeadOutput', 'Predictions', 'Assignment', 'ClassTargets'}
    assert meeting | {'LossTerm'} == set(rows)


def test_the_table_of_rooms_is_the_order_of_imports():
    table = ARCHITECTURE[ARCHITECTURE.index('## Rooms') : ARCHITECTURE.index('In two rooms')]
    lines = [line for line in table.splitlines() if line.startswith('| ')][1:]
    named = [[n for n in re.findall(r'`(\w+)(?:/|\.py)`', line) if n in FLOOR] for line in lines]
    assert {n for names in named for n in names} >= {room(m) for m in modules()} - {
        '', '_version', 'plugins',
    }  # fmt: skip
    # Data stands beside the parts, so that only the other lines go down.
    floors = [min(FLOOR[n] for n in names) for names in named if 'datasets' not in names]
    assert floors == sorted(floors, reverse=True)


def test_which_files_are_assigner_rules():
    """As the README says: all that lie in the folder itself, but six."""
    folder = ROOT / PACKAGE / 'assigners'
    text = README[README.index('the rule of an assigner') :].splitlines()[0]
    others = set(re.findall(r'`(\w+\.py)`', text[text.index('not rules') :]))
    by_file = {}
    for name in assigner_names():
        target = TASK_UTILS.get(name)
        by_file.setdefault(target.__module__.rpartition('.')[2] + '.py', []).append(name)
    files = {path.name for path in folder.glob('*.py')} - {'__init__.py'}
    assert files - others == set(by_file) - {'wrapped.py'}


def test_which_files_are_losses():
    """As the README says: all that lie in the folder itself, but nine."""
    line = README[README.index('the formula of a loss') :].splitlines()[0]
    others = set(re.findall(r'`(\w+\.py)`', line[line.index('not losses') :]))
    registered = {
        target.__module__.rpartition('.')[2] + '.py'
        for target in MODELS.module_dict.values()
        if target.__module__.startswith(f'{PACKAGE}.losses.')
    }
    files = {path.name for path in (ROOT / PACKAGE / 'losses').glob('*.py')} - {'__init__.py'}
    assert len(others) == 9 and files - others == registered


@pytest.mark.parametrize(
    ('file', 'folder'),
    [
        ('losses/focal.py', 'fused'),
        ('assigners/max_iou.py', 'candidates'),
        ('assigners/atss.py', 'candidates'),
    ],
)
def test_how_a_rule_is_made_fast_is_one_folder(file, folder):
    """Whatever the file imports from its own room lies flat there, or in that folder."""
    path = ROOT / PACKAGE / file
    room, folders, unread = path.parent, set(), [path]
    seen = set(unread)
    while unread:
        here = unread.pop()
        for node in ast.walk(ast.parse(here.read_text(encoding='utf-8'))):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                other = here.parent.joinpath(*(node.module or '').split('.')).with_suffix('.py')
                if other.is_file() and other not in seen:
                    seen.add(other)
                    unread.append(other)
                    folders |= {other.parent.name} - {room.name}
    assert folders == {folder}


@pytest.mark.parametrize('name', ['focal', 'cross_entropy', 'dice', 'varifocal'])
def test_a_loss_opens_with_its_formula(name):
    """The first function of its file is pure mathematics, under a docstring that says it."""
    path = ROOT / PACKAGE / 'losses' / f'{name}.py'
    tree = ast.parse(path.read_text(encoding='utf-8'))
    first = next(n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)))
    assert isinstance(first, ast.FunctionDef) and '``' in (ast.get_docstring(first) or '')
    assert len(ast.unparse(first).splitlines()) < 40


def test_the_letters_and_kinds_of_the_glossary():
    letters = re.findall(r'^\| ([A-Z]) \|', GLOSSARY, re.M)
    assert {'B', 'N', 'M', 'K', 'C'} <= set(letters) and len(letters) == len(set(letters))
    line = next(line for line in GLOSSARY.splitlines() if line.startswith('| kind |'))
    assert all(kind in line for kind in get_args(Kind))


def test_nobody_says_what_the_glossary_has_another_word_for():
    for path in [*modules().values(), *PAGES]:
        text = path.read_text(encoding='utf-8')
        if path.name == 'mmyolo.py':  # a key of MMYOLO's dict
            text = text.replace("'fg_mask_pre_prior'", '')
        words = re.findall(r'\b(skirts?|fg_mask\w*)\b', text)
        assert not words, f'{path.relative_to(ROOT)}: {words}'


def test_the_readme_does_not_count_what_there_is_not():
    losses = {
        target
        for target in MODELS.module_dict.values()
        if target.__module__.startswith(f'{PACKAGE}.losses')
    }
    stated = int(re.search(r'\| losses \| (\d+):', README)[1])
    assert len(losses) - 10 <= stated <= len(losses)
    assigners, samplers = re.search(r'assigners, samplers \| (\d+) and (\d+) \|', README).groups()
    rules = set(assigner_names()) - {'WrappedAssigner'}  # that one adapts foreign rules
    assert len(rules) - 10 <= int(assigners) <= len(rules)
    assert int(samplers) <= len(sampler_names())
