"""ATSSAssigner and BatchATSSAssigner: values by hand and options."""

import pytest

from registry_losses.assigners import ATSSAssigner
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """Three candidates of IoU 1, 1/3 and 0: mean 4/9, deviation 0.51; one is above both."""
    priors = judge.grid(8, size=24)
    gt = scenes.gt_of([[(8, 8, 16, 16)]], 24)
    found = ATSSAssigner(topk=3)(priors, gt)
    assert scenes.pairs_of(found) == [(0, 4, 0)]


def test_a_centre_outside_is_not_positive():
    """Of equal candidates all reach the threshold, but only those inside count."""
    priors = judge.grid(8, size=16)  # four cells around the gt
    gt = scenes.gt_of([[(3, 3, 13, 13)], [(5, 5, 11, 11)]], 16)
    found = ATSSAssigner(topk=4)(priors, gt)
    assert scenes.pairs_of(found) == [(0, n, 0) for n in range(4)]


@pytest.mark.parametrize('topk', [1, 4, 20])
def test_options(topk):
    rule = ATSSAssigner(topk)
    assert judge.compare(rule, lambda image: reference.atss(image, topk), ties=False)


def test_refuses_no_candidates():
    with pytest.raises(ConfigError, match='topk'):
        ATSSAssigner(topk=0)
