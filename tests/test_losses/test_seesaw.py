"""SeesawLoss: against its plain formula; the function equals the class."""

import pytest
import torch

import registry_losses.losses as losses
from registry_losses.testing.reference.losses import classes

C = 4
X = torch.linspace(-2, 3, 4 * (C + 2)).reshape(4, C + 2).roll(5)
LABELS, SEEN = torch.tensor([0, 3, 2, 1]), torch.tensor([5.0, 1, 30, 2, 9])


def test_equals_the_plain_formula():
    got = losses.seesaw_loss(X[:, :C], LABELS, SEEN[:C], reduction='none')
    torch.testing.assert_close(got, classes.seesaw(X[:, :C], LABELS, SEEN[:C]))


def test_without_both_factors_it_is_the_cross_entropy():
    got = losses.seesaw_loss(X[:, :C], LABELS, SEEN[:C], p=0.0, q=0.0)
    torch.testing.assert_close(got, losses.cross_entropy(X[:, :C], LABELS))


@pytest.mark.parametrize('reduction', ['none', 'sum', 'mean'])
def test_the_function_equals_the_class(reduction):
    loss = losses.SeesawLoss(num_classes=C, return_dict=True, p=0.6, q=1.5).eval()
    loss.cum_samples.copy_(SEEN)
    got = loss(X, LABELS, reduction_override=reduction)['loss_cls_classes']
    want = losses.seesaw_loss(X[:, :C], LABELS, SEEN[:C], p=0.6, q=1.5, reduction=reduction)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)


def test_training_counts_the_rows():
    loss = losses.SeesawLoss(num_classes=C)
    loss(X, torch.tensor([0, 0, C, -1]))
    assert loss.cum_samples.tolist() == [2, 0, 0, 0, 1]
