"""GridAssigner: values by hand and its thresholds."""

import pytest

from registry_losses.assigners import GridAssigner
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """Two anchors a cell: only the cell of the centre may be positive."""
    priors = judge.grid(16, size=32, bases=[(16, 16), (32, 32)])
    gt = scenes.gt_of([[(0, 0, 16, 16)]], 32)
    found = GridAssigner(0.5, 0.4)(priors, gt)
    assert scenes.pairs_of(found) == [(0, 0, 0)]
    # Prior 1, centred on the cell, overlaps by 1/4: negative at 0.4, ignored at 0.2.
    assert not found.ignored.any()
    assert GridAssigner(0.5, 0.2)(priors, gt).ignored[0].nonzero()[:, 0].tolist() == [1]


def test_a_better_prior_elsewhere_does_not_count():
    """The gt's centre lies in cell 0, but it is prior 1 that it overlaps most."""
    priors = judge.grid(16, size=32, bases=[(4, 4)])
    gt = scenes.gt_of([[(0, 2, 30, 14)]], 32)
    found = GridAssigner(0.9, 0.5)(priors, gt)
    assert found.prior.tolist() == [0]


@pytest.mark.parametrize('options', [(0.3, 0.2), (0.5, (0.1, 0.4)), (0.5, 0.5, 0.0, False)])
def test_thresholds(options):
    rule = GridAssigner(*options)
    assert judge.compare(rule, lambda image: reference.grid_assigner(image, *options))


def test_refuses_thresholds_out_of_order():
    with pytest.raises(ConfigError, match='neg_iou_thr'):
        GridAssigner(0.4, 0.5)
    with pytest.raises(ConfigError, match='one number or a range'):
        GridAssigner(0.5, (0.1, 0.2, 0.4))
