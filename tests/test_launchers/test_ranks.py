"""One, two and four ranks train the same weights, whatever the head; data and samplers included."""

import sys

import pytest
import torch

from .runs import HERE, call
from .train_many import SYSTEMS, draw

pytestmark = pytest.mark.slow


def relative_difference(one, many):
    """The norm of the difference of two runs' weights, over that of what one has learnt."""
    difference = sum(float((one['end'][k] - many['end'][k]).square().sum()) for k in one['end'])
    learnt = sum(float((one['end'][k] - one['start'][k]).square().sum()) for k in one['end'])
    return (difference / learnt) ** 0.5


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The folder in which 1, 2 and 4 ranks have trained every system."""
    out = tmp_path_factory.mktemp('ranks')
    draw(out)
    for ranks in (1, 2, 4):
        call(
            [sys.executable, '-m', 'torch.distributed.run', '--standalone']
            + [f'--nproc-per-node={ranks}', HERE / 'train_many.py', out, ranks, *SYSTEMS],
            timeout=1500,
        )
    return out


@pytest.mark.parametrize('name', SYSTEMS)
def test_ranks_train_the_weights_of_one_process(name, trained):
    runs = {w: torch.load(trained / name / f'{w}.pt', weights_only=True) for w in (1, 2, 4)}
    found = {w: relative_difference(runs[1], runs[w]) for w in (2, 4)}
    print(f'| {name} | {found[2]:.1e} | {found[4]:.1e} |')
    assert max(found.values()) < 1e-5
