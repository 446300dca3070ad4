"""NWDLoss: values by hand."""

import math

import pytest
import torch

import registry_losses.losses as losses


def test_by_hand():
    """Centres 3 and 4 apart, sizes 4 and 4: the distance is 5; with wider boxes more."""
    pred = torch.tensor([[0.0, 0, 4, 4]])
    target = torch.tensor([[3.0, 4, 7, 8]])
    assert losses.NWDLoss(constant=5.0)(pred, target).item() == pytest.approx(1 - math.exp(-1))
    assert losses.NWDLoss(constant=2.0, mode='log')(pred, target).item() == pytest.approx(2.5)
    wide = torch.tensor([[-4.0, 0, 8, 4]])  # dw = 8
    assert losses.NWDLoss(constant=1.0, mode='log')(pred, wide).item() == pytest.approx(4.0)
