"""SimOTAAssigner: values by hand, options, qualities."""

import pytest
import torch

from registry_losses.assigners import SimOTAAssigner
from registry_losses.errors import ConfigError
from registry_losses.ops import bbox_overlaps
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_k_by_hand():
    """Boxes that overlap the gt by 1, 1 and 0.5: k is 2, and the two best are taken."""
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(8, 8, 32, 32)]], 40)
    boxes = torch.tensor([0.0, 0, 1, 1]).repeat(25, 1)
    boxes[[6, 7]] = gt.boxes[0, 0]
    boxes[8] = torch.tensor([8.0, 8, 32, 20])
    found = SimOTAAssigner()(priors, gt, judge.predict(boxes))
    assert found.prior.tolist() == [6, 7] and found.quality.tolist() == [1, 1]


def test_a_gt_whose_boxes_overlap_nothing_takes_one_prior():
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(8, 8, 32, 32)]], 40)
    found = SimOTAAssigner()(priors, gt, judge.predict(torch.zeros(25, 4)))
    assert found.num_pairs == 1


@pytest.mark.parametrize('options', [(0.6, 3), (1.5, 10, 1.0, 2.0)])
def test_options(options):
    rule = SimOTAAssigner(*options)
    assert judge.compare(rule, lambda image: reference.simota(image, *options), seeds=range(4))


def test_quality():
    priors, gt, predictions = judge.scene('points', 3)
    soft = SimOTAAssigner()(priors, gt, predictions)
    iou = bbox_overlaps(
        predictions.boxes[soft.image, soft.prior], soft.boxes_of(gt), is_aligned=True
    )
    assert soft.num_pairs and torch.equal(soft.quality, iou.clamp(min=1e-7))
    hard = SimOTAAssigner(quality='one')(priors, gt, predictions)
    assert scenes.pairs_of(hard) == scenes.pairs_of(soft) and (hard.quality == 1).all()
    with pytest.raises(ConfigError, match='quality'):
        SimOTAAssigner(quality='two')
