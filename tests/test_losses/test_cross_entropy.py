"""CrossEntropyLoss: values by hand, against torch."""

import math

import pytest
import torch
import torch.nn.functional as F

import registry_losses.losses as losses
from registry_losses.structures import ClassTargets


def test_sigmoid_by_hand():
    x = torch.tensor([[0.0, 2.0]])
    loss = losses.CrossEntropyLoss(use_sigmoid=True, class_weight=[3.0, 1.0])
    out = loss(x, torch.tensor([0]), reduction_override='none')
    want = [3 * math.log(2), math.log(1 + math.exp(2))]
    assert out[0].tolist() == pytest.approx(want, rel=1e-6)


def test_label_smoothing_equals_torch():
    x = torch.linspace(-3, 4, 24).reshape(4, 6)
    labels = torch.tensor([0, 5, 3, 1])
    ours = losses.CrossEntropyLoss(label_smoothing=0.1)(x, labels)
    torch.testing.assert_close(ours, F.cross_entropy(x, labels, label_smoothing=0.1))


def test_softmax_charges_quality_at_the_class_and_the_rest_at_background():
    x = torch.tensor([[1.0, 0.0, -1.0]])
    target = ClassTargets.from_labels(torch.tensor([0]), 2, scores=torch.tensor([0.75]))
    log_p = x.log_softmax(-1)[0]
    want = -(0.75 * log_p[0] + 0.25 * log_p[2])
    out = losses.CrossEntropyLoss()(x, target, reduction_override='sum')
    torch.testing.assert_close(out, want, rtol=1e-5, atol=1e-6)


def test_masked_classes_cost_nothing():
    x = torch.tensor([[1.0, -math.inf, 0.0]], requires_grad=True)
    for target in (torch.tensor([0]), torch.tensor([[0.25, 0.0, 0.75]])):
        out = losses.CrossEntropyLoss()(x, target)
        out.backward()
        assert torch.isfinite(out) and torch.isfinite(x.grad).all()
