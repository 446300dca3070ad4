"""DistributionFocalLoss: values by hand, the ends of the range."""

import math

import pytest
import torch

import registry_losses.losses as losses


def test_by_hand():
    x = torch.tensor([[0.0, math.log(2), 0.0]])  # p = 1/4, 1/2, 1/4
    out = losses.DistributionFocalLoss()(x, torch.tensor([0.25]))
    assert out.item() == pytest.approx(-0.75 * math.log(0.25) - 0.25 * math.log(0.5), rel=1e-6)


def test_the_ends_and_beyond():
    x = torch.tensor([[0.0, math.log(2), 0.0]])
    for value in (2.0, 7.0):
        out = losses.DistributionFocalLoss()(x, torch.tensor([value]))
        assert out.item() == pytest.approx(-math.log(0.25), rel=1e-6)
