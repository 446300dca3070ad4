"""ShapeIoULoss: values by hand, limits."""

import math

import pytest
import torch

import registry_losses.losses as losses


def test_by_hand():
    """A target of 4 x 2 at scale 1: ww = 4/3, hh = 2/3; a square of 2, centres 1 apart."""
    pred, target = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[0.0, 0, 4, 2]])
    distance = 2 / 3 * 1 / (16 + 4)
    shape = (1 - math.exp(-2 / 3 * 2 / 4)) ** 4
    want = 1 - 0.5 + distance + shape / 2
    assert losses.ShapeIoULoss(1.0)(pred, target).item() == pytest.approx(want, rel=1e-5)


def test_of_one_size_and_no_scale_it_is_diou():
    pred, target = torch.tensor([[0.0, 0, 4, 3]]), torch.tensor([[1.0, 2, 5, 5]])
    diou = losses.DIoULoss()(pred, target)
    torch.testing.assert_close(losses.ShapeIoULoss()(pred, target), diou)
