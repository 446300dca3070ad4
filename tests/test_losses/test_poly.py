"""PolyLoss: values by hand, limits."""

import math

import pytest
import torch

import registry_losses.losses as losses

X = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
LABELS = torch.tensor([0, 2])


def test_by_hand():
    out = losses.PolyLoss(epsilon=2.0)(X[:1, :1], torch.tensor([0]))
    p = 1 / (1 + math.exp(-0.5))
    assert out.item() == pytest.approx(-math.log(p) + 2 * (1 - p), rel=1e-6)


def test_without_epsilon_it_is_focal_loss():
    poly = losses.PolyLoss(epsilon=0.0, gamma=2.0, alpha=0.25)
    torch.testing.assert_close(poly(X, LABELS), losses.FocalLoss()(X, LABELS))
