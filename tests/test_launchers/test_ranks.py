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


# Rounding decides ever more choices; a gradient that is W times too small would be at 0.5.
LIMITS = dict(double=1e-5, single=0.2)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The folder in which 1, 2 and 4 ranks have trained every system, by precision."""
    out = tmp_path_factory.mktemp('ranks')
    for precision in LIMITS:
        draw(out / precision)
        for ranks in (1, 2, 4):
            call(
                [sys.executable, '-m', 'torch.distributed.run', '--standalone']
                + [f'--nproc-per-node={ranks}', HERE / 'train_many.py']
                + [out / precision, ranks, *SYSTEMS],
                env=dict(PRECISION=precision),
                timeout=1500,
            )
    return out


@pytest.mark.parametrize('name', SYSTEMS)
def test_ranks_train_the_weights_of_one_process(name, trained):
    row = f'| {name}'
    for precision, limit in LIMITS.items():
        runs = [
            torch.load(trained / precision / name / f'{w}.pt', weights_only=True) for w in (1, 2, 4)
        ]
        found = [relative_difference(runs[0], run) for run in runs[1:]]
        row += ''.join(f' | {value:.1e}' for value in found)
        assert max(found) < limit, (precision, found)
    print(f'{row} |')
