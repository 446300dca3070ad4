"""SSDAssigner: values by hand, crowds, and options."""

import random

import pytest

from registry_losses.assigners import SSDAssigner
from registry_losses.errors import ConfigError
from registry_losses.structures import Priors
from registry_losses.testing.reference import assigners as reference
from registry_losses.testing.reference.assigners import images_of

from . import judge, scenes


def test_by_hand():
    """Two gts of which both like the first prior best: the better one has it."""
    priors = judge.grid(16, size=32, bases=[(16, 16)])  # four cells
    gt = scenes.gt_of([[(0, 0, 16, 12), (0, 0, 16, 16)]], 32)
    # IoU with prior 0: 0.75 and 1. Bipartite gives it to gt 1; gt 0 overlaps no other prior.
    assert scenes.pairs_of(SSDAssigner(0.5)(priors, gt)) == [(0, 0, 1)]


def test_a_weak_gt_keeps_its_best_prior():
    priors = judge.grid(16, size=32)
    gt = scenes.gt_of([[(18, 18, 22, 22)]], 32)  # IoU 1/16 with prior 3
    assert scenes.pairs_of(SSDAssigner(0.5)(priors, gt)) == [(0, 3, 0)]


def test_the_threshold_is_exclusive():
    priors = judge.grid(16, size=32, bases=[(16, 16), (16, 8)])
    gt = scenes.gt_of([[(0, 0, 16, 16)]], 32)  # IoU 1 and exactly 0.5
    assert SSDAssigner(0.5)(priors, gt).prior.tolist() == [0]
    assert SSDAssigner(0.49)(priors, gt).prior.tolist() == [0, 1]


@pytest.mark.parametrize('thr', [0.3, 0.7])
def test_thresholds(thr):
    assert judge.compare(SSDAssigner(thr), lambda image: reference.ssd(image, thr))


def test_a_grid_changes_nothing():
    """The same boxes without a grid are streamed instead of enumerated."""
    for seed in range(8):
        priors, gt, _ = judge.scene('anchors', seed)
        bare = Priors(priors.boxes, priors.strides, valid=priors.valid)
        expected = scenes.pairs_of(SSDAssigner()(priors, gt))
        assert scenes.pairs_of(SSDAssigner()(bare, gt)) == expected


def test_crowd_exhausts_its_best_priors():
    """Many gts that want the same few priors, which are fewer than the gts."""
    priors = scenes.grid_priors([scenes.square_level(64, 16, [(30, 30)])])
    r = random.Random(0)
    boxes = [(20 + r.random(), 20, 50, 50 + r.random()) for _ in range(12)] + [
        (20, 20, 50, 50)
    ] * 12
    gt = scenes.gt_of([boxes, boxes[:3]])
    found = SSDAssigner(0.5)(priors, gt)
    judge.agrees(found, [reference.ssd(image, 0.5) for image in images_of(priors, gt)])
    assert len(set(found.gt[found.image == 0].tolist())) == priors.num_priors == 16


def test_refuses_a_threshold_out_of_range():
    with pytest.raises(ConfigError, match='pos_iou_thr'):
        SSDAssigner(0.0)
