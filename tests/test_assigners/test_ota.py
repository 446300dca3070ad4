"""OTAAssigner: values by hand and options."""

import pytest
import torch

from registry_losses.assigners import OTAAssigner
from registry_losses.errors import ConfigError
from registry_losses.structures import Predictions
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_ota_gives_each_gt_its_k():
    """Perfect boxes on three of the priors inside: the gt supplies three labels."""
    priors = scenes.grid_priors([scenes.square_level(64, 8, [(8, 8)])])
    gt = scenes.gt_of([[(8, 8, 40, 40)]])
    boxes = priors.boxes.clone()
    perfect = [9, 10, 18]
    boxes[perfect] = gt.boxes[0, 0]
    far = [i for i in range(64) if i not in perfect]
    boxes[far] = torch.tensor([60.0, 60, 64, 64])
    scores = torch.full((1, 64, 2), 0.1)
    found = OTAAssigner()(priors, gt, Predictions(boxes[None], scores))
    assert found.prior.tolist() == perfect


def test_without_rescaling():
    rule = OTAAssigner(rescale=False)
    assert judge.compare(rule, lambda image: reference.ota(image, rescale=False), seeds=range(4))


def test_options():
    rule = OTAAssigner(1.5, 5, 3.0, 0.5, 20)
    assert judge.compare(
        rule, lambda image: reference.ota(image, 1.5, 5, 3.0, 0.5, 20), seeds=range(3)
    )


def test_refuses_no_regularisation():
    with pytest.raises(ConfigError, match='gamma'):
        OTAAssigner(gamma=0)
