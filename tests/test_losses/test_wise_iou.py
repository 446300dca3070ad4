"""WiseIoULoss: values by hand, its running mean."""

import math

import pytest
import torch

import registry_losses.losses as losses

PRED, TARGET = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 0, 6, 4]])  # IoU 1/3


def test_by_hand():
    v1 = math.exp(4 / 52) * 2 / 3
    for version, factor in (('v1', 1.0), ('v2', 0.8**0.5), ('v3', 0.8 / (3 * 1.9 ** (0.8 - 3)))):
        loss = losses.WiseIoULoss(version).eval()
        loss.iou_mean.fill_(2 / 3 / 0.8)  # so that the outlier degree is 0.8
        assert loss(PRED, TARGET).item() == pytest.approx(factor * v1, rel=1e-5)


def test_of_concentric_boxes_v1_is_the_iou_loss():
    pred, target = torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([[2.0, 2, 6, 6]])
    want = losses.IoULoss(mode='linear')(pred, target)
    torch.testing.assert_close(losses.WiseIoULoss('v1')(pred, target), want)


def test_the_diagonal_and_the_focus_take_no_gradient():
    pred = PRED.double().requires_grad_()
    losses.WiseIoULoss('v3').eval()(pred, TARGET.double()).backward()

    def frozen(shift):
        """The loss by hand after a shift, c^2 = 52 and the focus of an IoU of 1/3 as they were."""
        width = 2 + shift
        iou = width * 4 / (32 - width * 4)
        b = 2 / 3
        return b / (3 * 1.9 ** (b - 3)) * math.exp((2 - shift) ** 2 / 52) * (1 - iou)

    slope = (frozen(1e-6) - frozen(-1e-6)) / 2e-6
    assert float(pred.grad[0, 0] + pred.grad[0, 2]) == pytest.approx(slope, rel=1e-4)


def test_training_moves_the_mean():
    loss = losses.WiseIoULoss(momentum=0.25)
    loss(PRED, TARGET)
    assert loss.iou_mean.item() == pytest.approx(0.75 + 0.25 * 2 / 3)
    loss(PRED[:0], TARGET[:0])
    assert loss.iou_mean.item() == pytest.approx(0.75 + 0.25 * 2 / 3)
    assert 'iou_mean' in loss.state_dict()
