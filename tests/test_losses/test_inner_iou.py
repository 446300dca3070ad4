"""InnerIoULoss: values by hand, limits."""

import pytest
import torch

import registry_losses.losses as losses

PRED, TARGET = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 0, 6, 4]])  # IoU 1/3


def test_by_hand():
    """Sides of 3 around centres 2 apart: they share 1 x 3 of 15."""
    got = losses.InnerIoULoss(0.75, 'iou')(PRED, TARGET)
    assert got.item() == pytest.approx(1 - 3 / 15, rel=1e-5)
    got = losses.InnerIoULoss(0.75, 'diou')(PRED, TARGET)
    assert got.item() == pytest.approx(1 - 1 / 3 + 4 / 52 + 1 / 3 - 3 / 15, rel=1e-5)


@pytest.mark.parametrize(
    ('mode', 'loss'),
    [
        ('giou', losses.GIoULoss()),
        ('ciou', losses.CIoULoss()),
        ('efficient_iou', losses.EfficientIoULoss()),
        ('siou', losses.SIoULoss(neg_gamma=True)),
    ],
)
def test_at_ratio_1_it_is_the_loss_of_its_mode(mode, loss):
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[1.0, 1, 5, 6]])
    got = losses.InnerIoULoss(1.0, mode)(pred, target)
    torch.testing.assert_close(got, loss(pred, target), rtol=1e-4, atol=1e-5)
