"""TaskAlignedAssigner and BatchTaskAlignedAssigner: values by hand and options."""

import pytest
import torch

from registry_losses.assigners import BatchTaskAlignedAssigner, TaskAlignedAssigner
from registry_losses.assigners.matching.alignment import power
from registry_losses.structures import Predictions
from registry_losses.testing.reference import assigners as reference
from registry_losses.testing.reference.assigners import images_of

from . import judge, scenes


def test_by_hand():
    """t = s u^6; the target of the best is its IoU, of the other in proportion."""
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(8, 8, 32, 32)]], 40)
    boxes = torch.zeros(25, 4)
    boxes[6] = torch.tensor([8.0, 8, 32, 20])  # IoU 0.5, t = 0.5 / 64
    boxes[7] = torch.tensor([8.0, 8, 20, 20])  # IoU 0.25, t = 0.5 / 4096
    found = TaskAlignedAssigner()(priors, gt, judge.predict(boxes, 0.5))
    assert found.prior.tolist() == [6, 7]
    assert found.quality.tolist() == pytest.approx([0.5, 0.5 / 64], rel=1e-4)


def test_the_choice_comes_before_the_centre():
    """The best prior lies outside its gt: TOOD spends its one place on it, YOLOv8 does not."""
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(8, 8, 32, 32)]], 40)
    boxes = torch.zeros(25, 4)
    boxes[[0, 12]] = torch.tensor([[8.0, 8, 32, 32], [8, 8, 32, 20]])
    predictions = judge.predict(boxes)
    assert TaskAlignedAssigner(1)(priors, gt, predictions).num_pairs == 0
    assert BatchTaskAlignedAssigner(topk=1)(priors, gt, predictions).prior.tolist() == [12]


def test_the_larger_iou_wins():
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(8, 8, 32, 20), (8, 8, 32, 32)]], 40)
    boxes = torch.zeros(25, 4)
    boxes[7] = torch.tensor([8.0, 8, 32, 31])
    assert TaskAlignedAssigner()(priors, gt, judge.predict(boxes)).gt.tolist() == [1]


@pytest.mark.parametrize('inside_first', [True, False])
def test_options(inside_first):
    rule = TaskAlignedAssigner(3, alpha=0.5, beta=2, inside_first=inside_first)
    assert judge.compare(
        rule, lambda image: reference.task_aligned(image, 3, 0.5, 2, inside_first), seeds=range(4)
    )


@pytest.mark.parametrize(('exponent', 'scale'), [(1, 1.0), (8, 1.0), (1, 1e-6)])
def test_leaves_out_only_what_cannot_win(exponent, scale):
    """Enough runs of priors a gt that most are dropped by their bound, unseen scores and all."""
    for seed in range(2):
        priors, gt = scenes.points(256), scenes.random_gt(seed, 2, size=256)
        found = scenes.random_predictions(seed, priors, 2)
        predictions = Predictions(found.boxes, found.scores.pow(exponent) * scale)
        pairs = TaskAlignedAssigner(topk=5)(priors, gt, predictions)
        answers = [reference.task_aligned(i, 5) for i in images_of(priors, gt, predictions)]
        assert scenes.pairs_of(pairs) == [(b, *p) for b, a in enumerate(answers) for p in a.pairs]


def test_power():
    x = torch.rand(7, dtype=torch.float64)
    for exponent in (0.5, 1, 2, 3, 5, 6, 8, 9, 2.5):
        torch.testing.assert_close(power(x, exponent), x**exponent)
