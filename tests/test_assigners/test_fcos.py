"""FCOSAssigner: values by hand, ranges and centre sampling."""

import math

import pytest

from registry_losses.assigners import (
    FCOSAssigner,
)
from registry_losses.assigners.fcos import regress_ranges_of
from registry_losses.errors import ConfigError
from registry_losses.structures import Level
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """Levels of stride 8 and 16: boxes up to 128 long stand on the first."""
    priors = scenes.points(160)
    gt = scenes.gt_of([[(0, 0, 24, 16), (2, 2, 14, 14), (0, 0, 158, 158)]], 160)
    found = FCOSAssigner()(priors, gt)
    # Centres at 4, 12, 20: six in the first box; the second, smaller, takes two by two.
    first = [p for p, g in zip(found.prior.tolist(), found.gt.tolist()) if g < 2]
    assert first == [0, 1, 2, 20, 21, 22]
    assert found.gt[:3].tolist() == [1, 1, 0]
    large = found.prior[found.gt == 2]
    reach = (priors.centers[large] - 79).abs().amax(dim=1) + 79
    assert ((reach > 64) & (reach <= 128)).any() and priors.level_ids[large].min() == 1


def test_matches_boxes_of_any_area():
    level = Level(40, 40, (1000.0, 1000.0), ((1000.0, 1000.0),))
    priors = scenes.grid_priors([level])
    gt = scenes.gt_of([[(0, 0, 30000, 30000)]], 40000)
    assert FCOSAssigner()(priors, gt).num_pairs == 900


def test_options():
    priors, gt = scenes.points(), scenes.gt_of([[(8, 8, 40, 40)]])
    with pytest.raises(ConfigError, match='one range for each of the 3 levels'):
        FCOSAssigner([(-1, 64), (64, 1e8)])(priors, gt)
    with pytest.raises(ConfigError, match='center_sample_radius'):
        FCOSAssigner(center_sample_radius=0)
    assert regress_ranges_of(scenes.points().levels) == ((-1, 64), (64, 128), (128, math.inf))
    assert regress_ranges_of(()) == ((-1, math.inf),)


@pytest.mark.parametrize('radius', [0.5, 3.0])
def test_center_sampling(radius):
    rule = FCOSAssigner(center_sampling=True, center_sample_radius=radius)
    assert judge.compare(rule, lambda image: reference.fcos(image, None, True, radius))


def test_ranges():
    ranges = [(-1, 10), (10, 20), (15, 1e8)]
    rule = FCOSAssigner(ranges)
    assert judge.compare(rule, lambda image: reference.fcos(image, ranges), kinds=['points'])
