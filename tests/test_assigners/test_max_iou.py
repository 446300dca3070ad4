"""MaxIoUAssigner: values by hand, its thresholds, and its one deviation."""

import random

import pytest
import torch

from registry_losses.assigners import MaxIoUAssigner
from registry_losses.errors import ConfigError
from registry_losses.structures import Level, Priors
from registry_losses.testing.reference import assigners as reference
from registry_losses.testing.reference.assigners import images_of

from . import judge, scenes

RULES = [
    dict(pos_iou_thr=0.5, neg_iou_thr=0.5, gt_max_assign_all=False),
    dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
    dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False),
    dict(pos_iou_thr=0.5, neg_iou_thr=(0.1, 0.4), min_pos_iou=0.2),
    dict(pos_iou_thr=0.5, neg_iou_thr=0.05, gt_max_assign_all=False),
    dict(pos_iou_thr=0.6, neg_iou_thr=0.0),
]


def test_by_hand():
    """Four cells of 16; a gt over one and a half of them."""
    priors = judge.grid(16, size=32)
    gt = scenes.gt_of([[(0, 0, 24, 16)]], 32)  # IoU 2/3 and 8 / 32 = 1/4
    for neg, ignored in ((0.2, [1]), (0.25, [1]), (0.3, [])):
        found = MaxIoUAssigner(0.6, neg)(priors, gt)
        assert scenes.pairs_of(found) == [(0, 0, 0)]
        assert found.ignored[0].nonzero()[:, 0].tolist() == ignored


def test_every_gt_takes_its_best_prior():
    priors = judge.grid(16, size=32)
    gt = scenes.gt_of([[(0, 0, 16, 16), (0, 0, 8, 8)]], 32)  # both like prior 0 best
    assert scenes.pairs_of(MaxIoUAssigner(0.5, 0.4)(priors, gt)) == [(0, 0, 1)]  # the last
    plain = MaxIoUAssigner(0.5, 0.4, match_low_quality=False)
    assert scenes.pairs_of(plain(priors, gt)) == [(0, 0, 0)]


@pytest.mark.parametrize('rule', RULES)
def test_thresholds(rule):
    assert judge.compare(MaxIoUAssigner(**rule), lambda image: reference.max_iou(image, **rule))


def random_levels(r: random.Random, size: int) -> list[Level]:
    levels = []
    for stride in r.choice([(8, 16, 32), (16,), (16, 64), (7.5, 20.0), (10,)]):
        sides = [stride, stride * 4, stride * 1.3, stride * 0.3]
        bases = [(r.choice([*sides, 0]), r.choice(sides)) for _ in range(r.choice([1, 2, 3]))]
        levels.append(scenes.square_level(size, stride, bases, r.choice([0.0, 0.5])))
    return levels


@pytest.mark.parametrize('rule', RULES)
def test_grids_of_every_sort(rule):
    """Enumerated on the grid, streamed without one: the reference's answer either way."""
    for seed in range(20):
        r = random.Random(seed)
        size = r.choice([40, 64])
        priors = scenes.grid_priors(random_levels(r, size))
        gt = scenes.random_gt(seed, batch=2, size=size)
        if r.random() < 0.4:
            g = torch.Generator().manual_seed(seed)
            share = r.choice([0.0, 0.05, 0.5, 0.9])
            priors = priors.with_valid(torch.rand(2, priors.num_priors, generator=g) < share)
        answers = [reference.max_iou(image, **rule) for image in images_of(priors, gt)]
        bare = Priors(priors.boxes, priors.strides, valid=priors.valid)
        for some in (priors, bare):
            judge.agrees(MaxIoUAssigner(**rule)(some, gt), answers)


def test_large_coordinates_and_many_blocks():
    """More candidates than one block holds, far from the origin."""
    level = Level(32, 1500, (4.0, 4.0), ((64.0, 64.0), (90.0, 30.0)), 0.5)
    priors = scenes.grid_priors([level])
    g = torch.Generator().manual_seed(0)
    corner = torch.rand(500, 2, generator=g) * torch.tensor([5900.0, 90.0])
    boxes = torch.cat((corner, corner + 20 + 60 * torch.rand(500, 2, generator=g)), dim=1)
    gt = scenes.gt_of([boxes.tolist()], size=6000)
    rule = MaxIoUAssigner(0.5, 0.02)
    found = rule(priors, gt)
    bare = rule(Priors(priors.boxes, priors.strides), gt)
    assert scenes.pairs_of(found) == scenes.pairs_of(bare) and found.num_pairs > 10000
    assert torch.equal(found.ignored, bare.ignored)


def test_gt_that_overlaps_nothing():
    """The established rule makes every prior it does not overlap positive; ours, one."""
    priors = scenes.anchors()
    gt = scenes.gt_of([[(20, 20, 45, 45), (30.5, 50, 30.5, 50)]])
    found = MaxIoUAssigner(0.5, 0.4)(priors, gt)
    assert (found.gt == 0).sum() >= 3
    taken = found.prior[found.gt == 1]
    assert taken.shape == (1,) and priors.centers[taken[0]].tolist() == [32.0, 48.0]


def test_refuses_thresholds_out_of_order():
    with pytest.raises(ConfigError, match='neg_iou_thr'):
        MaxIoUAssigner(0.4, 0.5)
    with pytest.raises(ConfigError, match='one number or a range'):
        MaxIoUAssigner(0.5, (0.1, 0.2, 0.4))
    with pytest.raises(ConfigError, match='BboxOverlaps2D'):
        MaxIoUAssigner(0.5, 0.4, iou_calculator=dict(type='RBboxOverlaps2D'))
