"""DynamicSoftLabelAssigner: values by hand and options."""

import pytest
import torch

from registry_losses.assigners import DynamicSoftLabelAssigner
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_the_distance_decides_by_hand():
    """Equal boxes and scores, k = 1: the prior at the centre is the cheapest."""
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(8, 8, 32, 32)]], 40)  # centre (20, 20): prior 12
    boxes = torch.tensor([8.0, 8, 9, 9]).repeat(25, 1)
    found = DynamicSoftLabelAssigner()(priors, gt, judge.predict(boxes))
    assert found.prior.tolist() == [12]
    assert found.quality.item() == pytest.approx(1 / 576)


def test_a_class_score_near_the_iou_is_cheap():
    priors = judge.grid(8, size=40)
    gt = scenes.gt_of([[(8, 8, 32, 32)]], 40)
    boxes = torch.tensor([8.0, 8, 20, 20]).repeat(25, 1)  # IoU 1/4: k = 3 of nine
    scores = torch.full((25, scenes.CLASSES), 0.01)
    scores[:, 0] = 0.95
    scores[[6, 8, 16], 0] = 0.25  # corners, farther than all others
    found = DynamicSoftLabelAssigner(soft_center_radius=9)(priors, gt, judge.predict(boxes, scores))
    assert found.prior.tolist() == [6, 8]  # two: nine IoUs of 1/4


@pytest.mark.parametrize('options', [(1.0, 4), (5.0, 13, 1.0)])
def test_options(options):
    rule = DynamicSoftLabelAssigner(*options)
    assert judge.compare(
        rule, lambda image: reference.dynamic_soft_label(image, *options), seeds=range(4)
    )


def test_refuses_no_topk():
    with pytest.raises(ConfigError, match='>= 1'):
        DynamicSoftLabelAssigner(topk=0)
