"""YOLOV3Assigner: values by hand, its threshold, and centres on the border."""

import pytest
import torch

from registry_losses.assigners import YOLOV1Assigner, YOLOV3Assigner, YOLOV5Assigner
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """Three shapes on two levels: the best one fixes level and cell, whatever lies nearer."""
    priors = scenes.grid_priors(
        [scenes.square_level(40, 20, [(20, 20), (40, 10)]), scenes.square_level(40, 10, [(8, 8)])]
    )
    far = judge.predict(torch.full((24, 4), 100.0))
    cases = {(0, 1, 38, 11): 1, (22, 2, 30, 10): 8 + 2, (21, 21, 39, 39): 6}
    for box, expected in cases.items():
        found = YOLOV3Assigner()(priors, scenes.gt_of([[box]], 40), far)
        assert found.prior.tolist() == [expected], box


def test_good_predictions_are_ignored():
    priors = judge.grid(10, size=40)
    boxes = torch.zeros(16, 4)
    boxes[[0, 1]] = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])  # IoU 1 and 0.5
    gt = scenes.gt_of([[(0, 0, 10, 10)]], 40)
    for thr, ignored in ((0.5, []), (0.4, [1])):  # the positive itself never is
        found = YOLOV3Assigner(thr)(priors, gt, judge.predict(boxes))
        assert found.ignored[0].nonzero()[:, 0].tolist() == ignored


@pytest.mark.parametrize('thr', [0.3, 0.6])
def test_thresholds(thr):
    assert judge.compare(YOLOV3Assigner(thr), lambda image: reference.yolov3(image, thr))


@pytest.mark.parametrize('assigner', [YOLOV1Assigner(), YOLOV3Assigner(), YOLOV5Assigner()])
def test_center_on_the_border_belongs_to_the_last_cell(assigner):
    priors = scenes.grid_priors([scenes.square_level(40, 10, [(10, 10)])])
    gt = scenes.gt_of([[(38, 38, 42, 42)]], size=40)
    found = assigner(priors, gt, scenes.random_predictions(0, priors, 1))
    assert scenes.pairs_of(found) == [(0, 15, 0)]


def test_refuses_a_negative_threshold():
    with pytest.raises(ConfigError, match='ignore_thr'):
        YOLOV3Assigner(-0.1)
