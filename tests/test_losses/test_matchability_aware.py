"""MatchabilityAwareLoss: values by hand, limits."""

import math

import pytest
import torch

import registry_losses.losses as losses

X = torch.tensor([[math.log(1.5), math.log(0.25)]])  # p = 0.6, 0.2


def test_by_hand():
    out = losses.MatchabilityAwareLoss(2.0)(
        X, torch.tensor([[0.8, 0.0]]), reduction_override='none'
    )
    positive = -(0.64 * math.log(0.6) + 0.36 * math.log(0.4))
    assert out[0].tolist() == pytest.approx([positive, 0.04 * -math.log(0.8)], rel=1e-5)


def test_of_perfect_matches_it_is_varifocal_without_its_alpha():
    labels = torch.tensor([0])
    want = losses.VarifocalLoss(alpha=1.0, gamma=1.5)(X, labels)
    torch.testing.assert_close(losses.MatchabilityAwareLoss()(X, labels), want)


def test_a_poor_match_keeps_its_weight():
    """At an overlap of 0.05 varifocal loss hardly sees a positive that is far too sure."""
    x, value = torch.tensor([[3.0]]), torch.tensor([[0.05]])
    assert losses.MatchabilityAwareLoss()(x, value) > 10 * losses.VarifocalLoss()(x, value)
