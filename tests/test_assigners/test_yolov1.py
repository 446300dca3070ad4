"""YOLOV1Assigner: values by hand, and predictions that are no numbers."""

import torch

from registry_losses.assigners import YOLOV1Assigner

from . import judge, scenes


def test_by_hand():
    """Two predictors a cell; the better prediction is responsible, whatever the prior."""
    priors = scenes.grid_priors([scenes.square_level(40, 10, [(10, 10), (10, 10)])])
    predictions = scenes.random_predictions(0, priors, 1)
    boxes = torch.zeros_like(predictions.boxes)
    boxes[0, 2 * 5 + 1] = torch.tensor([10.0, 10, 20, 20])
    predictions = type(predictions)(boxes, predictions.scores)
    found = YOLOV1Assigner()(priors, scenes.gt_of([[(9, 9, 19, 19)]], size=40), predictions)
    assert scenes.pairs_of(found) == [(0, 11, 0)]
    assert not found.ignored.any()


def test_keeps_a_gt_whose_predictions_are_no_numbers():
    """The loss is then not finite, which the training reports with the image."""
    priors = scenes.grid_priors([scenes.square_level(40, 10, [(10, 10), (10, 10)])])
    predictions = scenes.random_predictions(0, priors, 1)
    boxes = torch.full_like(predictions.boxes, float('nan'))
    predictions = type(predictions)(boxes, predictions.scores)
    found = YOLOV1Assigner()(priors, scenes.gt_of([[(9, 9, 19, 19)]], size=40), predictions)
    assert scenes.pairs_of(found) == [(0, 10, 0)]


def test_two_gts_with_one_best_predictor():
    """The one that overlaps more has it; the other goes without."""
    priors = judge.grid(10, size=40)
    boxes = torch.zeros(16, 4)
    boxes[5] = torch.tensor([10.0, 10, 20, 20])
    gt = scenes.gt_of([[(12, 12, 18, 18), (10, 10, 20, 19)]], 40)
    assert scenes.pairs_of(YOLOV1Assigner()(priors, gt, judge.predict(boxes))) == [(0, 5, 1)]
