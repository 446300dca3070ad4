"""docs/assigners.md names every assigner and sampler there is, and what each needs."""

import inspect
import re
from pathlib import Path

import pytest

from registry_losses import samplers
from registry_losses.assigners import BaseAssigner
from registry_losses.registry import TASK_UTILS
from registry_losses.samplers import BaseSampler
from registry_losses.testing.reference import assigners as reference

from .cases import ASSIGNERS

PAGE = (Path(__file__).parents[2] / 'docs' / 'assigners.md').read_text(encoding='utf-8')


def rows() -> dict[str, list[str]]:
    """The cells of each table row, by the names in its first cell."""
    found = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('| [`'):
            found.update({name: cells for name in re.findall(r'`(\w+)`', cells[0])})
    return found


def test_every_part_has_a_row():
    ours = [
        part.__name__
        for part in TASK_UTILS.module_dict.values()
        if isinstance(part, type)
        and issubclass(part, (BaseAssigner, BaseSampler))
        and part.__module__.startswith('registry_losses.')
    ]
    assert set(ours) == set(rows())
    for name in ours:
        module = TASK_UTILS.get(name).__module__.replace('.', '/')
        assert f'[`{name}`](../{module}.py)' in rows()[name][0]
    assert all(hasattr(samplers, name) for name in ours if name.endswith('Sampler'))


@pytest.mark.parametrize('name', ASSIGNERS)
def test_what_it_needs(name):
    assigner = ASSIGNERS[name].assigner
    _, _, looks_at, grid, _, _ = rows()[type(assigner).__name__]
    assert (grid == 'yes') == assigner.requires_grid
    assert ('predictions' in looks_at) or 'predictions' not in assigner.needs
    assert ('losses' in looks_at) == ('pair_loss' in assigner.needs)


def test_the_page_shows_the_reference_as_it_is():
    shown = re.search(r'```python\n(def max_iou.*?)\n```', PAGE, flags=re.DOTALL)
    source = inspect.getsource(reference.max_iou)
    assert shown and shown.group(1).strip() == source.strip()
