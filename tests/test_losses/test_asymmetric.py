"""AsymmetricLoss: values by hand, limits."""

import math

import pytest
import torch

import registry_losses.losses as losses


def test_by_hand():
    x = torch.tensor([[math.log(1.5), math.log(0.25)]])  # p = 0.6, 0.2
    out = losses.AsymmetricLoss(1.0, 2.0, 0.1)(x, torch.tensor([0]), reduction_override='none')
    want = [-0.4 * math.log(0.6), -(0.1**2) * math.log(0.9)]
    assert out[0].tolist() == pytest.approx(want, rel=1e-5)


def test_easy_negatives_cost_nothing():
    x = torch.full((1, 3), -4.0, requires_grad=True)  # p = 0.018 < 0.05
    out = losses.AsymmetricLoss()(x, torch.tensor([3]))
    out.backward()
    assert out == 0 and not x.grad.any()


def test_with_one_gamma_and_no_clip_it_is_focal_loss_without_a_balance():
    x, labels = torch.linspace(-3, 3, 12).reshape(4, 3), torch.tensor([0, 3, 1, 2])
    loss = losses.AsymmetricLoss(2.0, 2.0, 0.0)
    torch.testing.assert_close(loss(x, labels), losses.FocalLoss(alpha=None)(x, labels))
