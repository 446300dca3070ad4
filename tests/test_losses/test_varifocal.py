"""VarifocalLoss: values by hand, limits."""

import math

import pytest
import torch

import registry_losses.losses as losses


def test_by_hand():
    x = torch.tensor([[math.log(1.5), math.log(0.25)]])  # p = 0.6, 0.2
    out = losses.VarifocalLoss()(x, torch.tensor([[0.8, 0.0]]), reduction_override='none')
    positive = 0.8 * -(0.8 * math.log(0.6) + 0.2 * math.log(0.4))
    want = [positive, 0.75 * 0.2**2 * -math.log(0.8)]
    assert out[0].tolist() == pytest.approx(want, rel=1e-5)
    flat = losses.VarifocalLoss(iou_weighted=False)
    out = flat(x, torch.tensor([[0.8, 0.0]]), reduction_override='none')
    assert out[0, 0].item() == pytest.approx(positive / 0.8, rel=1e-5)
