"""L1, MSE, smooth and balanced L1: values by hand, limits."""

import math

import pytest
import torch

import registry_losses.losses as losses

D = torch.tensor([0.5, -0.5, 3.0])
ZERO = torch.zeros(3)


def test_by_hand():
    for loss, want in (
        (losses.L1Loss(), [0.5, 0.5, 3.0]),
        (losses.MSELoss(), [0.25, 0.25, 9.0]),
        (losses.SmoothL1Loss(), [0.125, 0.125, 2.5]),
        (losses.SmoothL1Loss(beta=0.25), [0.375, 0.375, 2.875]),
    ):
        assert loss(D, ZERO, reduction_override='none').tolist() == pytest.approx(want)


def test_at_beta_0_smooth_l1_is_l1():
    torch.testing.assert_close(losses.SmoothL1Loss(beta=0.0)(D, ZERO), losses.L1Loss()(D, ZERO))


def test_balanced_l1_has_its_gradient():
    """``alpha ln(b d / beta + 1)`` below beta, gamma beyond; gamma too at beta."""
    d = torch.tensor([0.25, 1.0, 4.0], requires_grad=True)
    losses.BalancedL1Loss(reduction='sum')(d, ZERO).backward()
    b = math.exp(1.5 / 0.5) - 1
    assert d.grad.tolist() == pytest.approx([0.5 * math.log(b * 0.25 + 1), 1.5, 1.5], rel=1e-5)
