"""L2Loss: values by hand, margins, the share of negatives."""

import pytest
import torch

import registry_losses.losses as losses

PRED = torch.tensor([[0.9, 0.6, 0.3, 1.7, -0.2]])
TARGET = torch.tensor([[1.0, 0, 0, 1, 0]])


def test_by_hand():
    out = losses.L2Loss()(PRED, TARGET, reduction_override='none')
    assert out[0].tolist() == pytest.approx([0.01, 0.36, 0.09, 0, 0], abs=1e-6)
    out = losses.L2Loss(pos_margin=0.2, neg_margin=0.1)(PRED, TARGET, reduction_override='none')
    assert out[0].tolist() == pytest.approx([0.09, 0.25, 0.04, 0, 0], abs=1e-6)


def test_a_mean_is_over_what_has_a_weight():
    weight = torch.tensor([[1.0, 2, 0, 1, 0]])
    for avg_factor in (None, 100.0):
        out = losses.L2Loss()(PRED, TARGET, weight, avg_factor)
        assert out.item() == pytest.approx((0.01 + 2 * 0.36) / 3, rel=1e-5)


def test_the_worst_negatives_are_kept():
    pred = torch.tensor([[0.9, 0.1, 0.8, 0.3, 0.5]])
    target = torch.tensor([[1.0, 0, 0, 0, 0]])
    out = losses.L2Loss(neg_pos_ub=2, hard_mining=True)(pred, target, reduction_override='none')
    assert out[0].tolist() == pytest.approx([0.01, 0, 0.64, 0, 0.25], abs=1e-6)
    out = losses.L2Loss(neg_pos_ub=2)(pred, target, reduction_override='none')
    assert (out > 0).sum() == 3


def test_similarities_beyond_the_range_have_no_gradient():
    pred = PRED.clone().requires_grad_()
    losses.L2Loss()(pred, TARGET).backward()
    assert (pred.grad[0] != 0).tolist() == [True, True, True, False, False]
