"""Docstrings: every example runs, every part says what it is and where it comes from."""

import doctest
import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch

import registry_losses.commands.cli  # noqa: F401  (registers the commands' parts)
from registry_losses.registry import ALL_REGISTRIES

from .source import PACKAGE, ROOT, modules

# Rooms whose parts come out of papers or out of other projects, and have to name them.
WITH_SOURCE = ('losses', 'assigners', 'samplers', 'coders', 'priors', 'heads', 'backbones', 'necks')
SOURCE = re.compile(r'\b(19|20)\d\d\b|arXiv|OpenMMLab|MM(Detection|YOLO|Pose|Pretrain)|Ultralytics')
# Where a part has no source outside of this project.
OWN_IDEAS: set[str] = set()
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules_with_examples() -> list[str]:
    return [name for name, path in modules().items() if '>>> ' in path.read_text(encoding='utf-8')]


@pytest.mark.parametrize('name', modules_with_examples())
def test_every_example_runs(name):
    torch.manual_seed(0)
    module = import_module(name)
    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert found, f'{name}: doctest finds no example in a docstring'
    assert not doctest.testmod(module, optionflags=FLAGS).failed


def registered() -> list[tuple[str, type]]:
    """Each registered class or function of the package, once."""
    found = {}
    for registry in ALL_REGISTRIES:
        for name, target in registry.module_dict.items():
            if target.__module__.startswith(f'{PACKAGE}.'):
                found.setdefault(target, name)
    return sorted(((name, target) for target, name in found.items()), key=lambda pair: pair[0])


PARTS = registered()


def documentation(target) -> str:
    """The docstring, with those of the functions and classes of the same file it names."""
    text = target.__doc__ or ''
    for name in re.findall(r':(?:func|class):`[~.]*(\w+)`', text):
        other = getattr(inspect.getmodule(target), name, None)
        if other is not None and other is not target:
            text += '\n' + (other.__doc__ or '')
    return text


@pytest.mark.parametrize(('name', 'target'), PARTS, ids=[name for name, _ in PARTS])
def test_every_part_says_what_it_is(name, target):
    assert (target.__doc__ or '').strip(), f'{name} has no docstring of its own'
    room = target.__module__.split('.')[1]
    if room in WITH_SOURCE and name not in OWN_IDEAS:
        whole = documentation(target) + (inspect.getmodule(target).__doc__ or '')
        assert SOURCE.search(whole), f'{name}: name the paper (author, year) or project it is from'


@cache
def words_in_tests() -> frozenset[str]:
    """Every identifier and string in the tests, tables of cases among them."""
    found: set[str] = set()
    for path in (ROOT / 'tests').rglob('*.py'):
        if path.parent == Path(__file__).parent:
            continue  # the lists here are no tests of what they name
        found |= set(re.findall(r'\w+', path.read_text(encoding='utf-8')))
    return frozenset(found)


# Whose tests are written over the small configs (`*_tiny`), which name them.
IN_CONFIGS = ('heads', 'detectors', 'necks', 'backbones')


@cache
def words_in_small_configs() -> frozenset[str]:
    found: set[str] = set()
    base = ROOT / 'configs' / '_base_'
    for path in [*(base / 'models').glob('*.py'), *(base / 'parts').glob('*.py')]:
        found |= set(re.findall(r'\w+', path.read_text(encoding='utf-8')))
    return frozenset(found)


# What tests reach without writing its name: by an option, a signal or a config.
REACHED = {
    'CPUDistributedDataParallel': '--launcher pytorch (test_engine/test_distributed.py)',
    'CocoPoseDataset': 'PuppetsDataset, its subclass (test_datasets/test_puppets.py)',
    'StopValidationHook': 'signals (test_engine/test_stopping.py)',
    'DrawPredictionsHook': '--show-dir (test_tools/test_retinanet_digits.py)',
}


@pytest.mark.parametrize(('name', 'target'), PARTS, ids=[name for name, _ in PARTS])
def test_every_part_is_tested(name, target):
    known = words_in_tests()
    if target.__module__.split('.')[1] in IN_CONFIGS:
        known = known | words_in_small_configs()
    assert {name, target.__name__} & known or name in REACHED, f'no test names {name}'
