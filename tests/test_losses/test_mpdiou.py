"""MPDIoULoss: values by hand, limits."""

import pytest
import torch

import registry_losses.losses as losses

PRED, TARGET = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 0, 6, 4]])  # IoU 1/3


def test_by_hand():
    got = losses.MPDIoULoss((6, 8))(PRED, TARGET)
    assert got.item() == pytest.approx(1 - 1 / 3 + (4 + 4) / 100, rel=1e-5)


def test_in_a_huge_image_it_is_the_iou_loss():
    got = losses.MPDIoULoss((10**6, 10**6))(PRED, TARGET)
    torch.testing.assert_close(got, losses.IoULoss(mode='linear')(PRED, TARGET))
