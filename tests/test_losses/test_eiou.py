"""EIoULoss (extended), EfficientIoULoss and FocalEIoULoss: values by hand, limits."""

import pytest
import torch

import registry_losses.losses as losses


def test_extended_iou_by_hand():
    """Boxes 1 apart: the intersection is -1 x 2 there, so the loss is above 1."""
    pred, target = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[3.0, 0, 5, 2]])
    # From the hull's corner: sx1 = 3, sx2 = 2, sy1 = 0, sy2 = 2; 2 2 + 2 0 - 3 2 - 3 0 = -2.
    loss = 1 - -2 / (4 + 4 + 2)
    got = losses.EIoULoss(smooth_point=0.1)(pred, target)
    assert got.item() == pytest.approx(loss - 0.05, rel=1e-5)


def test_efficient_iou_by_hand():
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 8]])
    want = 1 - 0.5 + 2**2 / (16 + 64) + (4 / 8) ** 2
    assert losses.EfficientIoULoss()(pred, target).item() == pytest.approx(want, rel=1e-5)


def test_of_one_size_efficient_iou_is_diou():
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[1.0, 2, 5, 6]])
    diou = losses.DIoULoss()(pred, target)
    torch.testing.assert_close(losses.EfficientIoULoss()(pred, target), diou)


def test_focal_eiou_by_hand():
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 8]])
    want = 0.5**0.5 * losses.EfficientIoULoss()(pred, target)
    torch.testing.assert_close(losses.FocalEIoULoss()(pred, target), want)
    plain = losses.FocalEIoULoss(gamma=0.0)(pred, target)
    torch.testing.assert_close(plain, losses.EfficientIoULoss()(pred, target))


def test_focal_eiou_never_pushes_boxes_apart():
    pred = torch.tensor([[0.0, 0, 4, 4]], requires_grad=True)
    losses.FocalEIoULoss()(pred, torch.tensor([[3.5, 0, 7.5, 4]])).backward()
    assert pred.grad[0, 0] + pred.grad[0, 2] < 0  # towards larger x, where the target is
