"""GaussianFocalLoss: values by hand, peaks by their places."""

import math

import pytest
import torch

import registry_losses.losses as losses


def test_by_hand():
    p, v = torch.tensor([[0.6, 0.2]]), torch.tensor([[1.0, 0.5]])
    want = [-(0.4**2) * math.log(0.6), -(0.5**4) * 0.2**2 * math.log(0.8)]
    out = losses.GaussianFocalLoss()(p, v, reduction_override='none')
    assert out[0].tolist() == pytest.approx(want, rel=1e-5)
    out = losses.GaussianFocalLoss(use_sigmoid=True)(p.logit(), v, reduction_override='none')
    assert out[0].tolist() == pytest.approx(want, rel=1e-5)


def test_peaks_by_their_places_add_their_loss():
    p, v = torch.tensor([[0.6, 0.2]]), torch.tensor([[0.9, 0.5]])
    place = torch.tensor([0])
    out = losses.GaussianFocalLoss(reduction='sum')(p, v, place, place)
    negatives = [-((1 - w) ** 4) * q**2 * math.log(1 - q) for q, w in ((0.6, 0.9), (0.2, 0.5))]
    assert out.item() == pytest.approx(sum(negatives) - 0.4**2 * math.log(0.6), rel=1e-5)
