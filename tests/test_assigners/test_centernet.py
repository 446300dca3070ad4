"""CenterNetAssigner: values by hand, shared cells and borders."""

import math
from dataclasses import replace

import pytest
import torch

from registry_losses.assigners import (
    CenterNetAssigner,
)
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """A box of 8 x 8 cells at overlap 0.3: radius 1 and sigma 1/2 around the centre's cell."""
    priors = judge.grid(4, size=64)
    gt = scenes.gt_of([[(12, 12, 44, 44)]])  # centre (28, 28): cell (7, 7)
    found = CenterNetAssigner(0.3)(priors, gt)
    assert scenes.pairs_of(found) == [(0, 7 * 16 + 7, 0)] and found.quality.tolist() == [1]
    # Shrinking allows the least: 4 r^2 - 32 r + 44.8 = 0, r = 1.81.
    assert found.soft.prior.shape[0] == 8
    heat = dict(zip(found.soft.prior.tolist(), found.soft.value.tolist()))
    assert heat[7 * 16 + 8] == pytest.approx(math.exp(-1 / (2 * 0.5**2)), abs=1e-6)
    assert heat[8 * 16 + 8] == pytest.approx(math.exp(-2 / (2 * 0.5**2)), abs=1e-6)


@pytest.mark.parametrize('options', [(0.7, 'scale'), (0.3, 'all')])
def test_options(options):
    rule = CenterNetAssigner(*options)
    assert judge.compare(rule, lambda image: reference.centernet(image, *options))


def test_several_gts_of_one_cell():
    priors = scenes.grid_priors([scenes.square_level(64, 8, [(8, 8)])])
    gt = scenes.gt_of([[(10, 10, 20, 20), (4, 4, 26, 26), (11, 11, 20, 20)]])
    gt = replace(gt, labels=torch.tensor([[0, 0, 1]]))
    found = CenterNetAssigner()(priors, gt)
    assert found.prior.tolist() == [9, 9, 9]
    targets = found.class_targets(gt, priors, 2)
    assert int(targets.positive.sum()) == 2  # two classes
    assert found.one_gt_per_prior(gt).gt.tolist() == [2]  # the smallest box


def test_centres_on_the_border_and_beyond():
    priors = judge.grid(8)
    boxes = [(54, 54, 74, 74), (60, 20, 90, 24), (-40, 60, 4, 63)]  # centres (64, 64), x 75, x -18
    found = CenterNetAssigner()(priors, scenes.gt_of([boxes]))
    assert found.prior.tolist() == [23, 56, 63]


def test_refuses_unknown_options():
    with pytest.raises(ConfigError, match='min_overlap'):
        CenterNetAssigner(min_overlap=1.0)
    with pytest.raises(ConfigError, match='level_rule'):
        CenterNetAssigner(level_rule='both')
