"""BatchDynamicSoftLabelAssigner: what differs from DynamicSoftLabel, by hand."""

import torch

from registry_losses.assigners import BatchDynamicSoftLabelAssigner, DynamicSoftLabelAssigner
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_other_classes_cost_nothing():
    """The prior in the centre is sure of another class, which only the summed cost minds."""
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(8, 8, 32, 32)]], 40)  # centre (20, 20): prior 12
    boxes = torch.tensor([8.0, 8, 9, 9]).repeat(25, 1)
    scores = torch.full((25, scenes.CLASSES), 0.1)
    scores[12, 5] = 1.0
    predictions = judge.predict(boxes, scores)
    assert BatchDynamicSoftLabelAssigner()(priors, gt, predictions).prior.tolist() == [12]
    assert DynamicSoftLabelAssigner()(priors, gt, predictions).prior.tolist() != [12]


def test_k_sums_over_all_priors():
    """Two perfect boxes of priors outside the gt: k is 2, but only priors inside are taken."""
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(8, 8, 32, 32)]], 40)
    boxes = torch.tensor([8.0, 8, 9, 9]).repeat(25, 1)
    boxes[[0, 4]] = gt.boxes[0, 0]
    predictions = judge.predict(boxes)
    assert BatchDynamicSoftLabelAssigner()(priors, gt, predictions).num_pairs == 2
    assert DynamicSoftLabelAssigner()(priors, gt, predictions).num_pairs == 1


def test_options():
    options = (2.0, 4, 3.0)
    rule = BatchDynamicSoftLabelAssigner(None, *options)
    assert judge.compare(
        rule, lambda image: reference.batch_dynamic_soft_label(image, *options), ties=False
    )
