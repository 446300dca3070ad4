"""DiceLoss: values by hand; sparse targets class by class."""

import pytest
import torch

import registry_losses.losses as losses
from registry_losses.structures import ClassTargets

from .cases import random


def test_by_hand():
    p, v = torch.tensor([[0.5, 1.0]]), torch.tensor([[1.0, 1.0]])
    out = losses.DiceLoss(activate=False, eps=1e-6)(p, v)
    assert out.item() == pytest.approx(1 - 2 * 1.5 / (1.25 + 2), rel=1e-5)
    naive = losses.DiceLoss(activate=False, naive_dice=True, eps=1.0)
    assert naive(p, v).item() == pytest.approx(1 - (2 * 1.5 + 1) / (1.5 + 2 + 1), rel=1e-6)


def test_the_function_equals_the_class():
    pred, target = random(6, 4), random(6, 4, seed=1)
    loss = losses.DiceLoss(activate=False, naive_dice=True, eps=1e-2)
    for weight in (None, random(6, seed=2)):
        want = losses.dice_loss(pred, target, naive_dice=True, eps=1e-2, weight=weight)
        torch.testing.assert_close(loss(pred, target, weight), want)
    labels = torch.tensor([0, 4, 2, -1, 3, 1])
    sparse, kept = ClassTargets.from_labels(labels, 4), labels >= 0
    by_class = losses.dice_loss(pred[kept].T, sparse.dense()[kept].T)
    torch.testing.assert_close(losses.DiceLoss(activate=False)(pred, sparse), by_class)
