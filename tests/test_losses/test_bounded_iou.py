"""BoundedIoULoss: values by hand."""

import pytest
import torch

import registry_losses.losses as losses


def test_by_hand():
    """A shift of 1 of a side of 4: 1 - (4 - 2) / (4 + 2); half the height: 1 - 1 / 2."""
    pred, target = torch.tensor([[1.0, 1, 5, 3]]), torch.tensor([[0.0, 0, 4, 4]])
    out = losses.BoundedIoULoss(eps=1e-9)(pred, target, reduction_override='none')
    assert out[0].tolist() == pytest.approx([2 / 3 - 0.1, 0.0, 0.0, 0.5 - 0.1], abs=1e-6)
