"""IoU, GIoU, DIoU, CIoU, SIoU: values by hand, limits."""

import math

import pytest
import torch

import registry_losses.losses as losses


def test_iou_modes_by_hand():
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 0, 6, 4]])
    iou = 8 / 24
    for mode, want in (('linear', 1 - iou), ('square', 1 - iou**2), ('log', -math.log(iou))):
        got = losses.IoULoss(mode=mode)(pred, target)
        assert got.item() == pytest.approx(want, rel=1e-5)
    # The hull is 6 x 4, all of it covered.
    assert losses.GIoULoss()(pred, target).item() == pytest.approx(1 - iou, rel=1e-5)
    diou = 1 - iou + 4 / (36 + 16)
    assert losses.DIoULoss()(pred, target).item() == pytest.approx(diou, rel=1e-5)


def test_diou_of_concentric_boxes_is_iou():
    pred, target = torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([[2.0, 2, 6, 6]])
    diou = losses.DIoULoss()(pred, target)
    torch.testing.assert_close(diou, losses.IoULoss(mode='linear')(pred, target))


def test_ciou_of_one_shape_is_diou():
    pred, target = torch.tensor([[0.0, 0, 8, 4]]), torch.tensor([[1.0, 1, 5, 3]])
    torch.testing.assert_close(losses.CIoULoss()(pred, target), losses.DIoULoss()(pred, target))


def test_ciou_weighs_the_shape_by_hand():
    """A square of 4 in a box of 4 x 8: IoU 1/2, so the threshold leaves its weight out."""
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 7.0]])
    iou = 16 / 28
    v = 4 / math.pi**2 * (math.atan(4 / 7) - math.atan(1)) ** 2
    want = 1 - iou + 1.5**2 / (16 + 49) + v / (1 - iou + v) * v
    assert losses.CIoULoss()(pred, target).item() == pytest.approx(want, rel=1e-5)


def test_siou_by_hand():
    """Centres on one axis: no angle; boxes of one size: no cost of shape."""
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 0, 6, 4]])
    for neg_gamma, sign in ((True, -1), (False, 1)):
        distance = 1 - math.exp(sign * 2 * (2 / 6) ** 2)
        want = 1 - 8 / 24 + distance / 2
        got = losses.SIoULoss(neg_gamma=neg_gamma)(pred, target)
        assert got.item() == pytest.approx(want, rel=1e-4)
