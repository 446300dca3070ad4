"""HungarianAssigner: the least sum of costs, by hand and by trying all."""

import math
import sys
from types import SimpleNamespace

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from registry_losses.assigners import (
    BBoxL1Cost,
    ClassificationCost,
    FocalLossCost,
    HungarianAssigner,
    IoUCost,
)
from registry_losses.assigners.matching.costs import MatchInputs
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference
from registry_losses.testing.reference.assigners import images_of

from . import judge, scenes

COSTS = (
    dict(type='FocalLossCost', weight=2.0),
    dict(type='BBoxL1Cost', weight=5.0),
    dict(type='IoUCost', weight=2.0),
)


def test_by_hand():
    """Both gts like prior 0 best; the sum is least when the second has it."""
    priors = judge.grid(16, size=32)
    gt = scenes.gt_of([[(0, 0, 16, 16), (0, 0, 16, 12)]], 32)
    boxes = torch.tensor([[0.0, 0, 16, 14], [0, 0, 16, 18], [20, 20, 30, 30], [20, 20, 30, 30]])
    found = HungarianAssigner([dict(type='IoUCost', iou_mode='iou')])(
        priors, gt, judge.predict(boxes)
    )
    # IoUs 14/16 + 12/18 = 1.54, against 16/18 + 12/14 = 1.75.
    assert scenes.pairs_of(found) == [(0, 0, 1), (0, 1, 0)]


def test_tries_all():
    """Few enough priors that every matching can be tried, also with more gts than priors."""
    priors = judge.grid(32, size=64, bases=[(32, 32)])  # 4 priors
    assigner = HungarianAssigner(COSTS)
    for seed in range(12):
        g = torch.Generator().manual_seed(seed)
        corner = torch.rand(1 + seed % 6, 2, generator=g) * 40
        boxes = torch.cat((corner, corner + 4 + 20 * torch.rand(corner.shape, generator=g)), dim=1)
        gt = scenes.gt_of([boxes.tolist()])
        predictions = scenes.random_predictions(seed, priors, 1)
        cost = assigner.cost(gt, predictions)[0].numpy()
        (image,) = images_of(priors, gt, predictions)
        judge.agrees(assigner(priors, gt, predictions), [reference.hungarian(image, cost)])


@pytest.mark.parametrize('kind', ['anchors', 'proposals'])
def test_as_cheap_as_the_whole_matrix(kind):
    """As cheap in all as the solution of the whole matrix, and equal where it is unique."""
    for seed in range(8):
        priors, gt, predictions = judge.scene(kind, seed)
        assigner = HungarianAssigner(COSTS)
        found = assigner(priors, gt, predictions)
        cost = assigner.cost(gt, predictions).double()
        for b in range(2):
            prior_index = torch.arange(priors.num_priors)
            if priors.valid is not None:
                prior_index = prior_index[priors.valid[b]]
            gts = gt.valid[b].nonzero()[:, 0]
            whole = cost[b][prior_index][:, gts]
            n, g = linear_sum_assignment(whole)
            mine = found.image == b
            paid = cost[b, found.prior[mine], found.gt[mine]]
            assert len(paid) == len(n) and len(set(found.gt[mine].tolist())) == len(n)
            assert float(paid.sum()) == pytest.approx(float(whole[n, g].sum()), abs=1e-4)
            if len({tuple(x) for x in gt.boxes[b, gts].tolist()}) == len(gts):
                expected = sorted(zip(prior_index[n].tolist(), gts[g].tolist()))
                assert sorted(zip(found.prior[mine].tolist(), found.gt[mine].tolist())) == expected


def test_match_costs_by_hand():
    inputs = MatchInputs(
        boxes=torch.tensor([[[0.0, 0, 10, 20]]]),
        scores=torch.tensor([[[0.5, 0.25]]]),
        gt_boxes=torch.tensor([[[0.0, 0, 10, 10]]]),
        gt_labels=torch.tensor([[1]]),
        image_sizes=torch.tensor([[100.0, 50.0]]),
    )
    assert ClassificationCost(weight=2.0)(inputs).item() == -0.5
    assert BBoxL1Cost()(inputs).item() == pytest.approx(0.1)
    assert BBoxL1Cost('xywh', weight=10)(inputs).item() == pytest.approx(1.5)
    assert IoUCost('iou')(inputs).item() == -0.5 and IoUCost()(inputs).item() == -0.5
    positive, negative = -0.25 * 0.75**2 * math.log(0.25), -0.75 * 0.25**2 * math.log(0.75)
    assert FocalLossCost()(inputs).item() == pytest.approx(positive - negative, abs=1e-6)
    for build in (
        lambda: BBoxL1Cost('cxcywh'),
        lambda: IoUCost('iuo'),
        lambda: FocalLossCost(binary_input=True),
        lambda: HungarianAssigner([]),
    ):
        with pytest.raises(ConfigError):
            build()
    assert "iou_mode='giou'" in repr(IoUCost())


def test_copes_with_what_is_not_finite():
    priors, gt, predictions = judge.scene('points', 3)
    predictions.boxes[:, ::3] = math.nan
    found = HungarianAssigner(COSTS)(priors, gt, predictions)
    assert found.num_pairs == int(gt.valid.sum())
    assert (found.prior % 3 > 0).all()


def test_form_asks_for_one_kind_of_scores():
    assigner = HungarianAssigner([dict(type='ClassificationCost'), dict(type='FocalLossCost')])
    pred = SimpleNamespace(bboxes=torch.rand(4, 4), scores=torch.rand(4, 3))
    gts = SimpleNamespace(bboxes=torch.rand(1, 4), labels=torch.zeros(1, dtype=torch.long))
    with pytest.raises(ConfigError, match='logits'):
        assigner.assign(pred, gts, dict(img_shape=(8, 8)))


def test_uses_the_devices_solver(monkeypatch):
    """With a stand-in for the batched solver: the same pairs as on the host."""

    def solve(cost):
        out = torch.full(cost.shape[:2], -1)
        for b, matrix in enumerate(cost.double().numpy()):
            row, column = linear_sum_assignment(matrix)
            out[b, row] = torch.from_numpy(column)
        return out

    module = SimpleNamespace(batch_linear_assignment=solve)
    monkeypatch.setitem(sys.modules, 'torch_linear_assignment', module)
    from registry_losses.assigners.hungarian import _device_solver

    assigner = HungarianAssigner(COSTS)
    for seed in range(6):
        priors, gt, predictions = judge.scene('points', seed, ties=False)
        host = assigner(priors, gt, predictions)
        if gt.max_gts == 0:
            continue
        found = assigner._solve_on_device(priors, gt, predictions, _device_solver())
        assert sorted(zip(*(v.tolist() for v in found))) == sorted(
            (b, g, n) for b, n, g in scenes.pairs_of(host)
        )
