"""Every row of the table against its rule in plain loops, on every kind of priors."""

import inspect
import re

import pytest

from registry_losses import assigners
from registry_losses.assigners import BaseAssigner
from registry_losses.registry import TASK_UTILS
from registry_losses.testing.reference import assigners as reference

from . import judge
from .cases import ASSIGNERS

# Two priors far from the gt whose costs, over 1e5, are one float32: the choice is torch.topk's.
FAR_TIES = {('SimOTA', 110), ('SimOTA', 115)}
NAMES = [name for name, case in ASSIGNERS.items() if case.reference is not None]


@pytest.mark.parametrize('name', NAMES)
def test_equals_the_plain_loops(name):
    case = ASSIGNERS[name]
    assert judge.compare(case.assigner, case.reference, seeds=range(6), ties=case.exact_ties) > 20


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_equals_the_plain_loops_on_many_scenes(name):
    case = ASSIGNERS[name]
    seeds = [seed for seed in range(6, 120) if (name, seed) not in FAR_TIES]
    judge.compare(case.assigner, case.reference, seeds=seeds, ties=case.exact_ties)


def registered() -> list[type[BaseAssigner]]:
    """Our own assigners that have a rule."""
    return [
        part
        for part in TASK_UTILS.module_dict.values()
        if isinstance(part, type)
        and issubclass(part, BaseAssigner)
        and part.__module__.startswith('registry_losses.')
        and part is not assigners.WrappedAssigner
    ]


@pytest.mark.parametrize('part', registered(), ids=lambda part: part.__name__)
def test_every_assigner_has_a_row_and_names_its_reference(part):
    assert part in {type(case.assigner) for case in ASSIGNERS.values()}
    pattern = r':func:`registry_losses.testing.reference.assigners.(\w+)`'
    (name,) = re.findall(pattern, ' '.join(part.__doc__.split()))
    assert name in reference.__all__


def test_references_do_not_import_what_they_judge():
    for name in reference.__all__:
        source = inspect.getsource(inspect.getmodule(getattr(reference, name)))
        for line in re.findall(r'^(?:from|import) (\S+)', source, flags=re.MULTILINE):
            assert line.startswith('....structures') or not line.startswith('..'), (name, line)
            assert not line.startswith('registry_losses'), (name, line)
