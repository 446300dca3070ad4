"""EqualizedFocalLoss: values by hand, limits, the gradients it adds up."""

import math

import pytest
import torch

import registry_losses.losses as losses

X = torch.tensor([[math.log(1.5), math.log(0.25)]])  # p = 0.6, 0.2
LABELS = torch.tensor([0])


def test_by_hand():
    """g of 0.5 and 0: foci of 2 + 4 and 2 + 8, factors of 3 and 5."""
    ratio = torch.tensor([0.5, 0.0])
    got = losses.equalized_focal_loss(X, LABELS, ratio, reduction='none')
    want = [-0.25 * 3 * 0.4**6 * math.log(0.6), -0.75 * 5 * 0.2**10 * math.log(0.8)]
    assert got[0].tolist() == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize('target', [LABELS, torch.tensor([[1.0, 0.0]])])
def test_of_balanced_classes_it_is_focal_loss(target):
    want = losses.FocalLoss()(X, target)
    torch.testing.assert_close(losses.EqualizedFocalLoss(2)(X, target), want)
    got = losses.equalized_focal_loss(X, target, torch.tensor([7.0, 1.0]))  # above 1 counts as 1
    torch.testing.assert_close(got, want)


def test_training_adds_up_gradients():
    loss = losses.EqualizedFocalLoss(2)
    loss(X, LABELS)
    assert loss.pos_grad.tolist() == pytest.approx([0.4, 0.0])
    assert loss.neg_grad.tolist() == pytest.approx([0.0, 0.2])
    assert loss.pos_neg[1] == 0
