"""What holds for every registered loss: documented, sourced, tested, and there as a function."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from registry_losses.registry import MODELS

from .cases import CASES, OWN_CALLS, example

HERE = Path(__file__)
TABLE = HERE.parents[2] / 'docs' / 'losses.md'
REGISTERED = {
    name: cls
    for name, cls in MODELS.module_dict.items()
    if cls.__module__.startswith('registry_losses.losses.')
}
# Plain differences, and a choice among losses that have a source each.
WITHOUT_PAPER = {'L1Loss', 'MSELoss', 'KeypointMSELoss', 'YOLOIoULoss'}
# An author by initial and name, then the year in brackets.
SOURCE = re.compile(r'[A-Z]\.(?:-[A-Z]\.)? [A-Z][\w-]+[^`]*?\((?:19|20)\d\d\)', re.DOTALL)


def described(name):
    """The docstring of a class, with those of the functions it names."""
    cls = REGISTERED[name]
    home = sys.modules[cls.__module__]
    named = re.findall(r':func:`(\w+)`', cls.__doc__)
    return '\n'.join([cls.__doc__, *(getattr(home, f).__doc__ for f in named)])


def rows():
    """Name to (kind, source, formula, plain formula, file) of the table of docs/losses.md."""
    table = {}
    for line in TABLE.read_text(encoding='utf-8').splitlines():
        cells = [cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
        if len(cells) == 6:
            for name in cells[0].split(', '):
                name, _, file = name.strip('[)').partition('](')
                table[name] = (cells[1], cells[4], cells[3], cells[5], file)
    return table


def test_the_table_lists_the_registered_losses_and_no_others():
    listed = {name for name in rows() if name.isidentifier() and name != 'name'}
    assert len(REGISTERED) >= 34
    assert listed == set(REGISTERED)


@pytest.mark.parametrize('name', REGISTERED)
def test_the_table_tells_the_kind(name):
    kind = (REGISTERED[name].kinds or ('whole system',))[0]
    assert rows()[name][0] == kind


@pytest.mark.parametrize('name', REGISTERED)
def test_the_table_leads_to_its_file(name):
    module = REGISTERED[name].__module__.replace('.', '/')
    assert rows()[name][4] == f'../{module}.py'


@pytest.mark.parametrize('name', REGISTERED)
def test_its_docstring_states_its_source(name):
    found = SOURCE.search(described(name))
    assert bool(found) != (name in WITHOUT_PAPER)


@pytest.mark.parametrize('name', sorted(set(REGISTERED) - WITHOUT_PAPER))
def test_table_and_docstring_state_one_source(name):
    text, author = described(name), None
    cited = []
    for part in re.split(r'[;,] ', rows()[name][1]):
        *words, year = part.split()
        author = words[0] if words else author
        cited.append(re.search(rf'{author}\b[^`]*?\({year}\)', text, re.DOTALL))
    assert any(cited)


R, C = 6, 4
LABELS = torch.tensor([0, 4, 2, -1, 3, 1])
# Their functions have other arguments, or none: see their own files.
OWN_FUNCTION = (
    'l2',
    'seesaw',
    'dice',
    'oks_of_boxes',
    'mse_of_classes',
    'keypoint_ohkm',
    'ghmc',
    'ghmr',
)
OWN_FUNCTION += ('l2', 'gaussian_of_maps', 'dice_of_p', 'equalization_v2', 'equalized_focal')


@pytest.mark.parametrize('reduction', ['none', 'sum', 'mean', 'avg_factor'])
@pytest.mark.parametrize('name', [name for name in CASES if name not in OWN_FUNCTION])
def test_the_function_equals_the_class(name, reduction):
    case = CASES[name]
    pred, targets = example(name, LABELS, C)
    options = dict(case.settings)
    if case.family == 'sigmoid':
        options['class_weight'] = [2.0, 0.5, 1.0, 3.0]
    if case.family == 'softmax':
        options['class_weight'] = [2.0, 0.5, 1.0, 3.0, 0.25]
    weight = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.0, 3.0])[: len(pred)]
    call = dict(avg_factor=3.0) if reduction == 'avg_factor' else {}
    reduction = 'mean' if call else reduction
    for target in targets.values():
        results = []
        for as_class in (True, False):
            x = pred.clone().requires_grad_()
            if as_class:
                loss = case.build(C, **options)
                out = loss(x, target, weight=weight, reduction_override=reduction, **call)
            else:
                out = case.function(
                    x, target, weight=weight, reduction=reduction, **call, **options
                )
            results.append((out, torch.autograd.grad(out.sum(), x)[0]))
        assert results[0][0].abs().sum() > 0
        torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-7)


def test_every_registered_loss_has_a_row():
    assert {case.cls.__name__ for case in CASES.values()} | OWN_CALLS == set(REGISTERED)


@pytest.mark.parametrize('name', REGISTERED)
def test_its_own_file_names_it(name):
    module = REGISTERED[name].__module__.rpartition('.')[2]
    own = HERE.with_name(f'test_{module}.py')
    assert own.exists() and re.search(rf'\b{name}\b', own.read_text('utf-8')), own.name


@pytest.mark.parametrize('name', REGISTERED)
def test_its_docstring_names_its_plain_formula(name):
    text = ' '.join(REGISTERED[name].__doc__.split())
    told = re.search(r'Plain formula: (.*?) in ``testing/reference/losses/(\w+)\.py``', text)
    assert told, 'say "Plain formula: ``name`` in ``testing/reference/losses/file.py``"'
    module = import_module(f'registry_losses.testing.reference.losses.{told[2]}')
    functions = re.findall(r'``(\w+)``', told[1])
    assert functions and all(callable(getattr(module, function)) for function in functions)
    for function in functions:
        assert f'`{function}`' in rows()[name][3], 'docs/losses.md names it too'


@pytest.mark.parametrize('name', REGISTERED)
def test_it_builds_by_its_name(name):
    MODELS.build(dict(type=f'registry_losses.{name}'))
