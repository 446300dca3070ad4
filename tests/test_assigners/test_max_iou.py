"""MaxIoUAssigner against a double loop, and its one deviation."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_losses.assigners import MaxIoUAssigner
from registry_losses.errors import ConfigError
from registry_losses.structures import Level, Priors

from . import oracles, scenes

RULES = [
    dict(pos=0.5, neg=0.4),
    dict(pos=0.5, neg=0.5, assign_all=False),
    dict(pos=0.7, neg=0.3, min_pos=0.3),
    dict(pos=0.5, neg=0.5, min_pos=0.5, low_quality=False),
    dict(pos=0.5, neg=(0.1, 0.4), min_pos=0.2),
    dict(pos=0.5, neg=0.05, assign_all=False),
    dict(pos=0.6, neg=0.0),
]


def build(rule: dict) -> MaxIoUAssigner:
    return MaxIoUAssigner(
        rule['pos'],
        rule['neg'],
        rule.get('min_pos', 0.0),
        rule.get('assign_all', True),
        match_low_quality=rule.get('low_quality', True),
    )


def random_levels(r: random.Random, size: int) -> list[Level]:
    levels = []
    for stride in r.choice([(8, 16, 32), (16,), (16, 64), (7.5, 20.0), (10,)]):
        sides = [stride, stride * 4, stride * 1.3, stride * 0.3]
        bases = [(r.choice([*sides, 0]), r.choice(sides)) for _ in range(r.choice([1, 2, 3]))]
        levels.append(scenes.square_level(size, stride, bases, r.choice([0.0, 0.5])))
    return levels


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(RULES))
def test_equals_the_double_loop(seed, rule):
    """On grids of every sort, with ties, odd boxes, and priors that do not take part."""
    r = random.Random(seed)
    size = r.choice([40, 64])
    priors = scenes.grid_priors(random_levels(r, size))
    gt = scenes.random_gt(seed, batch=2, size=size)
    if r.random() < 0.4:
        g = torch.Generator().manual_seed(seed)
        chance = r.choice([0.0, 0.05, 0.5, 0.9])
        valid = torch.rand(2, priors.num_priors, generator=g) < chance
        priors = priors.with_valid(valid)
    expected = oracles.max_iou(priors, gt, **rule)
    found = build(rule)(priors, gt)
    assert scenes.pairs_of(found) == expected[0]
    assert found.ignored.tolist() == expected[1]
    # The same boxes without a grid are streamed instead of enumerated.
    streamed = build(rule)(Priors(priors.boxes, priors.strides, valid=priors.valid), gt)
    assert scenes.pairs_of(streamed) == expected[0]
    assert torch.equal(streamed.ignored, found.ignored)


@pytest.mark.parametrize('rule', RULES)
def test_proposals(rule):
    priors, gt = scenes.proposals(3), scenes.random_gt(8, batch=3)
    found = build(rule)(priors, gt)
    expected = oracles.max_iou(priors, gt, **rule)
    assert scenes.pairs_of(found) == expected[0] and found.num_pairs
    assert found.ignored.tolist() == expected[1]


def test_large_coordinates_and_many_blocks():
    """More candidates than one block holds, far from the origin."""
    level = Level(96, 3000, (4.0, 4.0), ((64.0, 64.0), (90.0, 30.0)), 0.5)
    priors = scenes.grid_priors([level])
    g = torch.Generator().manual_seed(0)
    corner = torch.rand(900, 2, generator=g) * torch.tensor([11900.0, 340.0])
    boxes = torch.cat((corner, corner + 20 + 60 * torch.rand(900, 2, generator=g)), dim=1)
    gt = scenes.gt_of([boxes.tolist()], size=12000)
    rule = dict(pos=0.5, neg=0.02)
    found = build(rule)(priors, gt)
    bare = build(rule)(Priors(priors.boxes, priors.strides), gt)
    assert scenes.pairs_of(found) == scenes.pairs_of(bare) and found.num_pairs > 10000
    assert torch.equal(found.ignored, bare.ignored)


def test_gt_that_overlaps_nothing():
    """The established rule makes every prior it does not overlap positive; ours, one."""
    priors = scenes.anchors()
    gt = scenes.gt_of([[(20, 20, 45, 45), (30.5, 50, 30.5, 50)]])
    theirs, _ = oracles.max_iou_zero_flaw(priors, gt, 0.5, 0.4)
    found = MaxIoUAssigner(0.5, 0.4)(priors, gt)
    ours = scenes.pairs_of(found)
    assert sum(g == 1 for _, _, g in theirs) == priors.num_priors
    assert sum(g == 1 for _, _, g in ours) == 1
    assert sum(g == 0 for _, _, g in ours) >= 3
    taken = next(n for _, n, g in ours if g == 1)
    assert priors.centers[taken].tolist() == [32.0, 48.0]


def test_refuses_thresholds_out_of_order():
    with pytest.raises(ConfigError, match='neg_iou_thr'):
        MaxIoUAssigner(0.4, 0.5)
    with pytest.raises(ConfigError, match='BboxOverlaps2D'):
        MaxIoUAssigner(0.5, 0.4, iou_calculator=dict(type='RBboxOverlaps2D'))
