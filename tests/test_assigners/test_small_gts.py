"""Small gts: boxes that count as larger, and a least number of positives, by hand."""

import pytest
import torch

from registry_losses.assigners import (
    DynamicSoftLabelAssigner,
    SimOTAAssigner,
    TaskAlignedAssigner,
)
from registry_losses.errors import ConfigError
from registry_losses.structures import Predictions
from registry_losses.testing.reference.assigners import dynamic_soft_label, simota

from . import judge, scenes

# Cells of 8 pixels; their centres lie at 4, 12, 20 ...
PRIORS = scenes.grid_priors([scenes.square_level(32, 8, [(16, 16)])])
BETWEEN = (6, 6, 10, 10)  # holds no centre


def predictions() -> Predictions:
    return Predictions(PRIORS.boxes[None], torch.full((1, PRIORS.num_priors, 3), 0.5))


RULES = [
    lambda **options: TaskAlignedAssigner(**options),
    lambda **options: TaskAlignedAssigner(inside_first=True, **options),
    lambda **options: DynamicSoftLabelAssigner(**options),
]


@pytest.mark.parametrize('rule', RULES)
def test_a_gt_between_the_centres_finds_priors_when_it_counts_as_larger(rule):
    gt = scenes.gt_of([[BETWEEN]])
    assert rule()(PRIORS, gt, predictions()).num_pairs == 0
    found = rule(min_gt_size=9)(PRIORS, gt, predictions())  # from 3.5 to 12.5
    assert found.num_pairs and set(found.prior.tolist()) <= {0, 1, 4, 5}
    assert rule(min_gt_size=8)(PRIORS, gt, predictions()).num_pairs == 0  # centres on its edges


@pytest.mark.parametrize('rule', [*RULES, lambda **options: SimOTAAssigner(**options)])
def test_a_gt_gets_its_nearest_free_priors(rule):
    gt = scenes.gt_of([[(6, 6, 9, 9), (6, 6, 9, 9), (20, 20, 21, 21)]])
    found = rule(min_positives=3)(PRIORS, gt, predictions())
    assert torch.bincount(found.gt, minlength=3).min() >= 3
    assert found.prior.unique().numel() == found.num_pairs
    assert (found.quality > 0).all()


def test_the_nearest_gt_gets_a_prior_that_two_claim():
    assigner = TaskAlignedAssigner(min_positives=1)
    gt = scenes.gt_of([[(6.5, 4.5, 9.5, 7.5), (7, 6, 7.5, 7)]])  # around (8, 6) and (7.25, 6.5)
    found = assigner(PRIORS, gt, predictions())
    # Both are nearest to the centre at (4, 4), the first as near to that at (12, 4).
    assert sorted(zip(found.gt.tolist(), found.prior.tolist())) == [(0, 1), (1, 0)]


SHARED = [(SimOTAAssigner, simota, 4, 20), (DynamicSoftLabelAssigner, dynamic_soft_label, 2, 12)]


def agree(rule, plain, least, size, seeds):
    assigner = rule(min_positives=least, min_gt_size=size)

    def reference(image):
        return plain(image, min_positives=least, min_gt_size=size)

    assert judge.compare(assigner, reference, seeds=seeds, ties=True) > 10


@pytest.mark.parametrize(('rule', 'plain', 'least', 'size'), SHARED)
def test_equals_the_plain_loops(rule, plain, least, size):
    agree(rule, plain, least, size, range(2))


@pytest.mark.slow
@pytest.mark.parametrize(('rule', 'plain', 'least', 'size'), SHARED)
def test_equals_the_plain_loops_on_many_scenes(rule, plain, least, size):
    agree(rule, plain, least, size, range(2, 40))


def test_settings_below_0_are_refused():
    with pytest.raises(ConfigError, match='min_positives: expected >= 0, got -1'):
        TaskAlignedAssigner(min_positives=-1)
    with pytest.raises(ConfigError, match='min_gt_size: expected pixels >= 0, got -2'):
        SimOTAAssigner(min_gt_size=-2)
