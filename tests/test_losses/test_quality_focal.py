"""QualityFocalLoss: values by hand, limits."""

import math

import pytest
import torch

import registry_losses.losses as losses


def test_by_hand():
    x = torch.tensor([[math.log(1.5), math.log(0.25)]])  # p = 0.6, 0.2
    out = losses.QualityFocalLoss()(x, (torch.tensor([0]), torch.tensor([0.8])))
    positive = 0.2**2 * -(0.8 * math.log(0.6) + 0.2 * math.log(0.4))
    assert out.item() == pytest.approx(positive + 0.2**2 * -math.log(0.8), rel=1e-5)


def test_a_perfect_estimate_costs_nothing():
    x = torch.tensor([[math.log(1.5)]])
    assert losses.QualityFocalLoss()(x, torch.tensor([[0.6]])).item() < 1e-12


def test_at_beta_0_it_is_the_cross_entropy():
    x, labels = torch.linspace(-3, 3, 12).reshape(4, 3), torch.tensor([0, 3, 1, 2])
    bce = losses.CrossEntropyLoss(True, reduction='sum')(x, labels)
    torch.testing.assert_close(losses.QualityFocalLoss(beta=0.0)(x, labels), bce / 4)
