"""UniformAssigner: values by hand and options."""

import pytest
import torch

from registry_losses.assigners import UniformAssigner
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """Two matches a gt: two of the predictions and two of the priors, the nearest each."""
    priors = judge.grid(8, size=32, bases=[(8, 8)])
    gt = scenes.gt_of([[(0, 0, 9, 9)]], 32)
    boxes = torch.full((16, 4), 30.0)
    boxes[[10, 15]] = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]])
    found = UniformAssigner(0.1, 2.0, match_times=2)(priors, gt, judge.predict(boxes))
    # Priors 10 and 15 overlap the gt by less than 0.1, and one of 1 and 4 is the second
    # nearest prior, which overlaps it by 8 / 137: claimed, but ignored.
    assert found.prior.tolist() == [0]
    ignored = found.ignored[0].nonzero()[:, 0].tolist()
    assert ignored in ([1, 10, 15], [4, 10, 15])


@pytest.mark.parametrize('options', [(0.15, 0.3, 1), (0.3, 0.7, 6)])
def test_options(options):
    rule = UniformAssigner(*options)
    assert judge.compare(rule, lambda image: reference.uniform(image, *options), ties=False)


def test_refuses_no_match():
    with pytest.raises(ConfigError, match='match_times'):
        UniformAssigner(0.15, 0.7, match_times=0)
