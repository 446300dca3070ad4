"""YOLOIoULoss: its modes are those of the others, its boxes may be xywh."""

import pytest
import torch

import registry_losses.losses as losses

PRED, TARGET = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[1.0, 2, 7, 5]])


def test_modes_are_the_other_losses():
    giou = losses.YOLOIoULoss('giou')(PRED, TARGET)
    torch.testing.assert_close(giou, losses.GIoULoss()(PRED, TARGET))
    siou = losses.YOLOIoULoss('siou')(PRED, TARGET)
    torch.testing.assert_close(siou, losses.SIoULoss(neg_gamma=True)(PRED, TARGET))


def test_xywh():
    def centre(box):
        x1, y1, x2, y2 = box.unbind(1)
        return torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), 1)

    for mode in ('ciou', 'giou', 'siou'):
        loss = losses.YOLOIoULoss(mode, bbox_format='xywh')
        want = losses.YOLOIoULoss(mode)(PRED, TARGET)
        torch.testing.assert_close(loss(centre(PRED), centre(TARGET)), want)


@pytest.mark.parametrize('mode', ['ciou', 'giou', 'siou'])
def test_a_perfect_box_costs_nothing(mode):
    assert losses.YOLOIoULoss(mode)(PRED, PRED).item() == pytest.approx(0, abs=1e-5)
