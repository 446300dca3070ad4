"""AlphaIoULoss: values by hand, limits."""

import pytest
import torch

import registry_losses.losses as losses

PRED, TARGET = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 0, 6, 4]])  # IoU 1/3


def test_by_hand():
    for mode, penalty in (('iou', 0.0), ('giou', 0.0), ('diou', (4 / 52) ** 3)):
        got = losses.AlphaIoULoss(mode=mode)(PRED, TARGET)
        assert got.item() == pytest.approx(1 - (1 / 3) ** 3 + penalty, rel=1e-5)


@pytest.mark.parametrize('mode', ['iou', 'giou', 'diou'])
def test_at_alpha_1_it_is_the_loss_of_its_mode(mode):
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 1, 9, 4]])
    own = {'iou': losses.IoULoss(mode='linear'), 'giou': losses.GIoULoss()}
    want = own.get(mode, losses.DIoULoss())(pred, target)
    torch.testing.assert_close(losses.AlphaIoULoss(1.0, mode)(pred, target), want)
    # CIoU's threshold leaves the shape of a pair below an IoU of 1/2 out.
    assert losses.AlphaIoULoss(1.0, 'ciou')(pred, target) > losses.CIoULoss()(pred, target)
