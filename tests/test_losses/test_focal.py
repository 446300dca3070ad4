"""FocalLoss: values by hand, limits."""

import math

import pytest
import torch
import torch.nn.functional as F

import registry_losses.losses as losses
from registry_losses.structures import ClassTargets

X = torch.tensor([[0.5, -1.0], [2.0, 0.0], [-3.0, 1.0]])
LABELS = torch.tensor([0, 2, 1])


def test_by_hand():
    loss = losses.FocalLoss()(X[:1], torch.tensor([0]), reduction_override='none')
    p, q = 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(1.0))
    want = [-0.25 * (1 - p) ** 2 * math.log(p), -0.75 * q**2 * math.log(1 - q)]
    assert loss[0].tolist() == pytest.approx(want, rel=1e-5)


def test_at_gamma_0_it_is_the_balanced_cross_entropy():
    dense = F.one_hot(LABELS, 3)[:, :2].float()
    bce = F.binary_cross_entropy_with_logits(X, dense, reduction='none')
    balanced = (torch.where(dense == 1, 0.3, 0.7) * bce).sum()
    focal = losses.FocalLoss(gamma=0.0, alpha=0.3)(X, LABELS, reduction_override='sum')
    torch.testing.assert_close(focal, balanced, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('alpha', [None, -1, -1.0])
@pytest.mark.parametrize('target', [LABELS, F.one_hot(LABELS, 3)[:, :2].float()])
def test_without_a_balance_positives_and_negatives_weigh_1(alpha, target):
    dense = F.one_hot(LABELS, 3)[:, :2].float()
    want = F.binary_cross_entropy_with_logits(X, dense, reduction='none')
    got = losses.FocalLoss(gamma=0.0, alpha=alpha)(X, target, reduction_override='none')
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    half = losses.FocalLoss(alpha=0.5, loss_weight=2.0)(X, target)
    torch.testing.assert_close(losses.FocalLoss(alpha=alpha)(X, target), half)
    torch.testing.assert_close(losses.sigmoid_focal_loss(X, target, alpha=alpha), half)


def test_softmax_by_hand():
    x = torch.tensor([[1.0, 0.0, -1.0]])
    p = float(x.softmax(-1)[0, 1])
    loss = losses.FocalLoss(activation='softmax', alpha=[0.5, 0.25, 1.0], gamma=2.0)
    out = loss(x, torch.tensor([1]), reduction_override='sum')
    assert out.item() == pytest.approx(-0.25 * (1 - p) ** 2 * math.log(p), rel=1e-5)
    for alpha in (None, -1):
        loss = losses.FocalLoss(False, alpha=alpha)
        out = loss(x, torch.tensor([1]), reduction_override='sum')
        assert out.item() == pytest.approx(-((1 - p) ** 2) * math.log(p), rel=1e-5)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_softmax_bears_masked_classes(gamma):
    """A logit of -inf: the class does not exist, and the others are as without it."""
    x = torch.tensor([[1.0, 0.0, -1.0, 0.5], [0.3, -0.2, 0.1, 2.0]])
    labels = torch.tensor([0, 2])
    loss = losses.FocalLoss(False, gamma=gamma, reduction='sum')
    mask = torch.zeros(4).index_fill(0, torch.tensor([1]), -math.inf)
    mass = torch.tensor([[0.7, 0.0, 0.2, 0.1], [0.0, 0.0, 1.0, 0.0]])
    soft = ClassTargets.from_labels(labels, 3, scores=torch.tensor([0.5, 1.0]))
    for target in (labels, mass, soft):
        leaf = x.clone().requires_grad_()
        value = loss(leaf + mask, target)
        (grad,) = torch.autograd.grad(value, leaf)
        rest = [0, 2, 3]
        without = leaf.detach()[:, rest].requires_grad_()
        here = target
        if target is labels:
            here = torch.tensor([0, 1])
        elif target is mass:
            here = mass[:, rest]
        else:
            here = ClassTargets.from_labels(torch.tensor([0, 1]), 2, scores=soft.values)
        want = loss(without, here)
        torch.testing.assert_close(value, want)
        torch.testing.assert_close(grad[:, rest], torch.autograd.grad(want, without)[0])
        assert not grad[:, 1].any()


def test_print_shows_the_settings():
    loss = losses.FocalLoss(gamma=1.5, alpha=0.4, loss_weight=2.0)
    shown = repr(loss)
    assert 'gamma=1.5' in shown and 'alpha=0.4' in shown and 'loss_weight=2.0' in shown
    assert 'gamma=1.5' not in repr(losses.FocalLoss())
