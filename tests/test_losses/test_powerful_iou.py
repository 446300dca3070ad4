"""PowerfulIoULoss: values by hand, limits."""

import math

import pytest
import torch

import registry_losses.losses as losses

PRED, TARGET = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 0, 6, 4]])  # IoU 1/3


def test_by_hand():
    """Both vertical edges are 2 off a width of 4: P = (2 + 2) / 4 / 4."""
    p = 0.25
    v1 = 1 - 1 / 3 + 1 - math.exp(-(p**2))
    got = losses.PowerfulIoULoss('v1')(PRED, TARGET)
    assert got.item() == pytest.approx(v1, rel=1e-5)
    a = 1.3 * math.exp(-p)
    got = losses.PowerfulIoULoss()(PRED, TARGET)
    assert got.item() == pytest.approx(3 * a * math.exp(-(a**2)) * v1, rel=1e-5)


def test_a_larger_prediction_does_not_lower_the_penalty():
    target = torch.tensor([[0.0, 0, 4, 4]])
    loss = losses.PowerfulIoULoss('v1')
    values = [float(loss(torch.tensor([[8.0, 0, 8 + w, 4]]), target)) for w in (4.0, 8.0, 16.0)]
    assert values == sorted(values)


def test_boxes_of_low_quality_are_never_pushed_apart():
    pred = torch.tensor([[0.0, 0, 4, 4]], requires_grad=True)
    losses.PowerfulIoULoss()(pred, torch.tensor([[3.9, 0, 7.9, 4]])).backward()
    assert (pred.grad[0, [0, 2]] <= 0).all() and pred.grad[0, 0] < 0  # towards the right
