"""EQLV2Loss: weights by hand, the gradients it adds up."""

import math

import pytest
import torch

import registry_losses.losses as losses
from registry_losses.losses.equalization_v2 import equalization_weights

X = torch.tensor([[math.log(1.5), math.log(0.25)], [0.0, math.log(4)]])  # p = .6 .2, .5 .8
LABELS = torch.tensor([0, 2])


def test_weights_by_hand():
    positive, negative = equalization_weights(torch.tensor([0.8, 100.0, 0.0]))
    assert negative.tolist() == pytest.approx([0.5, 1.0, 1 / (1 + math.exp(9.6))])
    assert positive.tolist() == pytest.approx([3.0, 1.0, 5 - 4 / (1 + math.exp(9.6))], rel=1e-5)


def test_loss_by_hand():
    ratio = torch.tensor([0.8, 100.0])
    got = losses.equalization_loss_v2(X, LABELS, ratio, reduction='none')
    want = [-3 * math.log(0.6) - math.log(0.8), -0.5 * math.log(0.5) - math.log(0.2)]
    assert got.tolist() == pytest.approx(want, rel=1e-5)


def test_at_first_it_is_the_cross_entropy():
    bce = losses.CrossEntropyLoss(True, reduction='sum')(X, LABELS)
    torch.testing.assert_close(losses.EQLV2Loss(num_classes=2)(X, LABELS), bce / 2)


@pytest.mark.parametrize('sparse', [True, False])
def test_training_adds_up_gradients_by_hand(sparse):
    loss = losses.EQLV2Loss(num_classes=2)
    target = LABELS if sparse else torch.tensor([[1.0, 0], [0, 0]])
    loss(X, target, weight=torch.tensor([1.0, 0.5]))
    assert loss.pos_grad.tolist() == pytest.approx([0.4, 0.0])
    assert loss.neg_grad.tolist() == pytest.approx([0.5 * 0.5, 0.2 + 0.5 * 0.8])
    assert loss.pos_neg.tolist() == pytest.approx([0.4 / 0.25, 0.0])
    rare = loss(X, target, reduction_override='none')
    # Class 1 has had no positive: its negatives hardly count any more.
    assert rare[1].item() == pytest.approx(-math.log(0.5), rel=1e-3)


def test_ignored_rows_and_evaluation_count_nothing():
    loss = losses.EQLV2Loss(num_classes=2)
    loss(X, torch.tensor([-1, -1]))
    assert not loss.pos_grad.any() and not loss.neg_grad.any()
    loss.eval()(X, LABELS)
    assert not loss.pos_grad.any()


def test_a_column_for_background_is_refused():
    with pytest.raises(ValueError, match=r'EQLV2Loss expected \(2, 2\), got \(2, 3\)'):
        losses.EQLV2Loss(num_classes=2)(torch.zeros(2, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r'ratio: expected \(2,\).*got \(3,\)'):
        losses.equalization_loss_v2(X, LABELS, torch.ones(3))
