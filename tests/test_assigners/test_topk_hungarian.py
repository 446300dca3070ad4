"""TopkHungarianAssigner: the least sum of costs with several priors a gt."""

import pytest
import torch

from registry_losses.assigners import TopkHungarianAssigner
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference
from registry_losses.testing.reference.assigners import images_of

from . import judge, scenes


def test_by_hand():
    """Four priors for two gts at k = 2: each gt gets the two that lie on it."""
    priors = judge.grid(32, size=64)
    gt = scenes.gt_of([[(0, 0, 32, 32), (32, 32, 64, 64)]])
    boxes = torch.tensor([[0.0, 0, 32, 30], [32, 32, 64, 60], [0, 0, 30, 30], [34, 34, 64, 64]])
    found = TopkHungarianAssigner(8)(priors, gt, judge.predict(boxes))
    assert scenes.pairs_of(found) == [(0, 0, 0), (0, 1, 1), (0, 2, 0), (0, 3, 1)]
    assert found.quality[0] == pytest.approx(30 / 32, abs=1e-4)  # the best of its gt: its IoU


def test_tries_all():
    priors = judge.grid(32, 64, size=64)  # 5 priors
    assigner = TopkHungarianAssigner(2)
    for seed in range(10):
        g = torch.Generator().manual_seed(seed)
        corner = torch.rand(1 + seed % 3, 2, generator=g) * 40
        boxes = torch.cat((corner, corner + 4 + 20 * torch.rand(corner.shape, generator=g)), dim=1)
        gt = scenes.gt_of([boxes.tolist()])
        predictions = scenes.random_predictions(seed, priors, 1)
        cost = assigner.cost(gt, predictions)[0].numpy()
        (image,) = images_of(priors, gt, predictions)
        found = assigner(priors, gt, predictions)
        judge.agrees(found, [reference.topk_hungarian(image, cost, 2)])


def test_form():
    """Metrics and overlaps of the positives, in the order of the priors."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    scores = torch.full((3, 2), 0.5)
    gts = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([1])
    meta = dict(img_shape=(64, 64))
    result = TopkHungarianAssigner(2).assign(scores, boxes, *gts, meta)
    assert result.gt_inds.tolist() == [1, 1, 0] and result.labels.tolist() == [1, 1, -1]
    assert result.max_overlaps.tolist() == [1, 0.5]
    assert result.assign_metrics.tolist() == [0.5, 0.5 / 64]
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    assert not TopkHungarianAssigner(2).assign(scores, boxes, *none, meta).gt_inds.any()


def test_refuses_no_copies():
    with pytest.raises(ConfigError, match='topk'):
        TopkHungarianAssigner(0)
