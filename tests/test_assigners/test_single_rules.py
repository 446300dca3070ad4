"""Grid, SSD and YOLO assigners against double loops."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_losses.assigners import (
    GridAssigner,
    SSDAssigner,
    YOLOV1Assigner,
    YOLOV3Assigner,
    YOLOV5Assigner,
)
from registry_losses.structures import Priors

from . import oracles, scenes

KINDS = [scenes.anchors, scenes.points, scenes.yolo_anchors]
seeds = st.integers(0, 2**32)


def some_valid(priors: Priors, batch: int, seed: int) -> Priors:
    """In two of three cases, with some priors left out."""
    r = random.Random(seed)
    chance = r.choice([1.0, 0.9, 0.3])
    if chance == 1:
        return priors
    g = torch.Generator().manual_seed(seed)
    return priors.with_valid(torch.rand(batch, priors.num_priors, generator=g) < chance)


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(KINDS), st.sampled_from([0.3, 0.5]))
def test_ssd(seed, kind, thr):
    priors, gt = some_valid(kind(), 2, seed), scenes.random_gt(seed, batch=2)
    found = SSDAssigner(thr)(priors, gt)
    assert scenes.pairs_of(found) == oracles.ssd(priors, gt, thr)
    streamed = SSDAssigner(thr)(Priors(priors.boxes, priors.strides, valid=priors.valid), gt)
    assert scenes.pairs_of(streamed) == scenes.pairs_of(found)


def test_ssd_crowd_exhausts_its_best_priors():
    """Many gts that want the same few priors, which are fewer than the gts."""
    priors = scenes.grid_priors([scenes.square_level(64, 16, [(30, 30)])])
    r = random.Random(0)
    boxes = [(20 + r.random(), 20, 50, 50 + r.random()) for _ in range(12)] + [
        (20, 20, 50, 50)
    ] * 12
    gt = scenes.gt_of([boxes, boxes[:3]])
    found = SSDAssigner(0.5)(priors, gt)
    assert scenes.pairs_of(found) == oracles.ssd(priors, gt, 0.5)
    assert len(set(found.gt[found.image == 0].tolist())) == priors.num_priors == 16


@settings(max_examples=40, deadline=None)
@given(
    seeds,
    st.sampled_from(KINDS),
    st.sampled_from([(0.5, 0.5), (0.3, 0.2), (0.5, (0.1, 0.4))]),
    st.booleans(),
)
def test_grid(seed, kind, thresholds, assign_all):
    priors, gt = some_valid(kind(), 2, seed), scenes.random_gt(seed, batch=2)
    pos, neg = thresholds
    found = GridAssigner(pos, neg, gt_max_assign_all=assign_all)(priors, gt)
    pairs, ignored = oracles.grid(priors, gt, pos, neg, assign_all=assign_all)
    assert scenes.pairs_of(found) == pairs
    assert found.ignored.tolist() == ignored


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(KINDS))
def test_yolov1(seed, kind):
    priors, gt = some_valid(kind(), 2, seed), scenes.random_gt(seed, batch=2)
    predictions = scenes.random_predictions(seed, priors, 2)
    found = YOLOV1Assigner()(priors, gt, predictions)
    assert scenes.pairs_of(found) == oracles.yolov1(priors, gt, predictions)


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(KINDS), st.sampled_from([0.3, 0.6]))
def test_yolov3(seed, kind, thr):
    priors, gt = some_valid(kind(), 2, seed), scenes.random_gt(seed, batch=2)
    predictions = scenes.random_predictions(seed, priors, 2)
    found = YOLOV3Assigner(thr)(priors, gt, predictions)
    pairs, ignored = oracles.yolov3(priors, gt, predictions, thr)
    assert scenes.pairs_of(found) == pairs
    assert found.ignored.tolist() == ignored


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(KINDS))
def test_yolov5(seed, kind):
    priors, gt = kind(), scenes.random_gt(seed, batch=2)
    found = YOLOV5Assigner()(priors, gt)
    assert scenes.pairs_of(found) == oracles.yolov5(priors, gt)


def test_yolov5_by_hand():
    """Stride 10, one anchor of 10 x 10: the cell and its two nearest neighbours."""
    priors = scenes.grid_priors([scenes.square_level(40, 10, [(10, 10)])])
    cases = {
        (11, 11, 17, 17): [(0, 1), (1, 0), (1, 1)],  # centre (14, 14): left, up
        (13, 13, 19, 19): [(1, 1), (1, 2), (2, 1)],  # centre (16, 16): right, down
        (0, 0, 6, 6): [(0, 0)],  # centre (3, 3): no cell to the left or above
        (0, 0, 80, 6): [],  # eight times as wide as the anchor
        (37, 11, 47, 17): [(0, 3), (1, 3)],  # centre (42, 14), beyond the grid
    }
    for box, cells in cases.items():
        found = YOLOV5Assigner()(priors, scenes.gt_of([[box]], size=40))
        assert [divmod(n, 4) for n in found.prior.tolist()] == cells, box


def test_yolov1_by_hand():
    """Two predictors a cell; the better prediction is responsible, whatever the prior."""
    priors = scenes.grid_priors([scenes.square_level(40, 10, [(10, 10), (10, 10)])])
    predictions = scenes.random_predictions(0, priors, 1)
    boxes = torch.zeros_like(predictions.boxes)
    boxes[0, 2 * 5 + 1] = torch.tensor([10.0, 10, 20, 20])
    predictions = type(predictions)(boxes, predictions.scores)
    found = YOLOV1Assigner()(priors, scenes.gt_of([[(9, 9, 19, 19)]], size=40), predictions)
    assert scenes.pairs_of(found) == [(0, 11, 0)]
    assert not found.ignored.any()


def test_yolov1_keeps_a_gt_whose_predictions_are_no_numbers():
    """The loss is then not finite, which the training reports with the image."""
    priors = scenes.grid_priors([scenes.square_level(40, 10, [(10, 10), (10, 10)])])
    predictions = scenes.random_predictions(0, priors, 1)
    boxes = torch.full_like(predictions.boxes, float('nan'))
    predictions = type(predictions)(boxes, predictions.scores)
    found = YOLOV1Assigner()(priors, scenes.gt_of([[(9, 9, 19, 19)]], size=40), predictions)
    assert scenes.pairs_of(found) == [(0, 10, 0)]


@pytest.mark.parametrize('assigner', [YOLOV1Assigner(), YOLOV3Assigner(), YOLOV5Assigner()])
def test_center_on_the_border_belongs_to_the_last_cell(assigner):
    priors = scenes.grid_priors([scenes.square_level(40, 10, [(10, 10)])])
    gt = scenes.gt_of([[(38, 38, 42, 42)]], size=40)
    found = assigner(priors, gt, scenes.random_predictions(0, priors, 1))
    assert scenes.pairs_of(found) == [(0, 15, 0)]
