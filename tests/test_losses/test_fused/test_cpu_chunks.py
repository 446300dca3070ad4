"""The fused pass of the sigmoid losses on the CPU: chunks, sums, entries, memory."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

import registry_losses.losses as losses
from registry_losses.losses.fused import cpu_chunks as fused_cpu
from registry_losses.losses.fused.negatives import ElementNegative
from registry_losses.losses.sigmoid import SigmoidRule, sigmoid_loss
from registry_losses.structures import ClassTargets
from registry_losses.testing.memory import peak_bytes

from ..cases import CASES, names

FUSED = {name: CASES[name].build for name in names('sigmoid', fused=True) if name != 'focal_0.5'}


def big(mean, rows=4000, classes=80):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, classes, generator=generator) * 2 + mean
    labels = torch.full((rows,), classes)
    labels[::40] = 3
    labels[5::100] = -1
    return x, ClassTargets.from_labels(labels, classes)


def value_and_gradient(loss, x, target):
    x = x.clone().requires_grad_()
    out = loss(x, target, avg_factor=10.0)
    return out.detach(), torch.autograd.grad(out, x)[0]


@pytest.mark.parametrize('name', FUSED)
@pytest.mark.parametrize('mean', [-9.0, -3.0, 4.0])
def test_chunks_equal_float64(name, mean, monkeypatch):
    monkeypatch.setattr(fused_cpu, 'CHUNK', 1 << 12)
    x, target = big(mean)
    loss = FUSED[name]()
    got, grad = value_and_gradient(loss, x, target)
    exact = x.double().requires_grad_()
    want = loss(exact, target, reduction_override='none').sum() / (10.0 + 1.2e-7)
    (want_grad,) = torch.autograd.grad(want, exact)
    torch.testing.assert_close(got.double(), want.detach(), rtol=1e-5, atol=1e-9)
    largest = float(want_grad.abs().max())
    torch.testing.assert_close(grad.double(), want_grad, rtol=1e-5, atol=1e-6 * largest)


@pytest.mark.parametrize('value', [-10.0, -4.6, -3.0, 0.0])
@pytest.mark.parametrize('name', ['focal', 'bce', 'poly'])
def test_equal_logits_add_up_without_drift(name, value):
    """A head's first step: all logits are one number, and roundings do not cancel."""
    x, target = torch.full((20000, 80), value), big(0.0, rows=20000)[1]
    got, _ = value_and_gradient(FUSED[name](), x, target)
    want = FUSED[name]()(x.double(), target, reduction_override='none').sum() / 10
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=0)


@pytest.mark.parametrize('name', FUSED)
def test_the_fused_pass_takes_one_gradient_of_memory(name):
    x, target = big(-3.0, rows=25_000)
    x.requires_grad_()
    loss = FUSED[name]()
    loss(x, target, avg_factor=1.0)
    most = peak_bytes(lambda: torch.autograd.grad(loss(x, target, avg_factor=1.0), x))
    assert x.numel() * 4 <= most <= 1.3 * x.numel() * 4


@pytest.mark.parametrize('name', FUSED)
def test_sparse_labels_and_dense_agree(name):
    x, target = big(-1.0, rows=60)
    labels = torch.full((60,), 80)
    labels[::7] = 3
    target = ClassTargets.from_labels(labels, 80)
    loss = FUSED[name]()
    want = value_and_gradient(loss, x, target)
    forms = [labels] if name != 'gaussian' else []
    if name not in ('gaussian', 'quality'):
        forms.append(target.dense())
    for form in forms:
        got = value_and_gradient(loss, x, form)
        torch.testing.assert_close(got[0], want[0], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(got[1], want[1], rtol=1e-4, atol=1e-7)


@pytest.fixture
def passes(monkeypatch):
    """Whether the entries were masked, for each pass there was."""
    masked = []
    run = fused_cpu._pass
    monkeypatch.setattr(fused_cpu, '_pass', lambda *a: masked.append(a[-1]) or run(*a))
    return masked


def entries_at(logit, rows=400):
    """Logits around -3, but for one object of every four rows."""
    x = torch.randn(rows, 80, generator=torch.Generator().manual_seed(2)) - 3
    labels = torch.full((rows,), 80)
    labels[::4] = 70
    x[::4, 70] = logit
    return x, ClassTargets.from_labels(labels, 80)


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('name', ['focal', 'bce', 'quality'])
@pytest.mark.parametrize(('logit', 'how'), [(-2.0, [False]), (0.5, [False]), (3e4, [True])])
def test_entries_are_subtracted_or_masked(logit, how, name, weighted, passes):
    """As negatives they would weigh little, about as much as the rest, or 1e4 times as much."""
    x, target = entries_at(logit)
    weight = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) if weighted else None
    loss = FUSED[name](class_weight=torch.linspace(0.5, 2, 80).tolist() if weighted else None)
    got = loss(x, target, weight, reduction_override='sum')
    want = loss(x.double(), target, weight, reduction_override='none').sum()
    torch.testing.assert_close(got.double(), want, rtol=2e-6, atol=0)
    assert passes[: len(how)] == how


def test_entries_that_outweigh_the_rest_by_surprise(passes):
    """The sample knows no weights: rows without one make the rest smaller than it foretells."""
    x, target = entries_at(-0.5)
    weight = torch.zeros(400)
    weight[::4] = 1.0
    x[::4] -= 2
    x[::4, 70] = -0.5
    x.requires_grad_()
    loss = losses.FocalLoss(gamma=2.0)
    got = loss(x, target, weight, reduction_override='sum')
    want = loss(x.double(), target, weight, reduction_override='none').sum()
    torch.testing.assert_close(got.double(), want, rtol=2e-6, atol=0)
    assert passes[:2] == [False, True]


def test_weights_below_zero_hide_no_entry(passes):
    """Two entries of 1e6 whose weights cancel would take the digits of the rest."""
    x = torch.randn(4000, 20, generator=torch.Generator().manual_seed(0)) - 4
    labels = torch.full((4000,), 20)
    labels[1000], labels[1001] = 3, 4
    weight = torch.ones(4000)
    weight[1001] = -1
    x[1000, 3] = x[1001, 4] = 1e6
    loss = losses.FocalLoss()
    got = loss(x, labels, weight, reduction_override='sum')
    want = loss(x.double(), labels, weight, reduction_override='none').sum()
    torch.testing.assert_close(got.double(), want, rtol=2e-6, atol=0)
    assert passes[0] is True


@pytest.mark.parametrize('hot', ['entry', 'ignored'])
@pytest.mark.parametrize('low', [-8.5, -12.0, -17.0])
@pytest.mark.parametrize('gamma', [1.0, 2.0])
def test_low_logits_keep_their_digits_beside_one_that_does_not_count(hot, low, gamma):
    x, labels = torch.full((2000, 20), low), torch.full((2000,), 20)
    x[0] = low if hot == 'entry' else 3.0
    x[0, 0], labels[0] = 10.0, 0 if hot == 'entry' else -1
    loss = losses.FocalLoss(gamma=gamma, reduction='sum')
    x.requires_grad_()
    got = loss(x, labels)
    (grad,) = torch.autograd.grad(got, x)
    exact = x.detach().double().requires_grad_()
    want = loss(exact, labels)
    (want_grad,) = torch.autograd.grad(want, exact)
    torch.testing.assert_close(got.double(), want.detach(), rtol=2e-6, atol=0)
    torch.testing.assert_close(grad.double(), want_grad, rtol=1e-5, atol=0)


def smoothed():
    return losses.CrossEntropyLoss(use_sigmoid=True, label_smoothing=0.1)


@pytest.mark.parametrize('reduction', ['none', 'sum', 'mean'])
@pytest.mark.parametrize('build', [*FUSED.values(), losses.AsymmetricLoss, smoothed])
def test_serves_under_inference_mode(build, reduction):
    x, target = big(-2.0, rows=40)
    want = build()(x, target, reduction_override=reduction)
    with torch.inference_mode():
        got = build()(x, target, reduction_override=reduction)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize('compiled', [False, True])
def test_the_loss_lies_where_its_logits_do(compiled):
    x, target = big(-2.0, rows=40)
    with torch.device('meta'):
        loss = losses.FocalLoss(compile=compiled)(x, target)
    assert loss.device.type == 'cpu'


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_target_values_of_another_dtype(dtype):
    x, target = big(-2.0, rows=40)
    other = dataclasses.replace(target, values=target.values.to(dtype))
    torch.testing.assert_close(losses.FocalLoss()(x, other), losses.FocalLoss()(x, target))


def test_a_rule_by_autograd_may_mirror_its_negatives():
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: F.softplus(-x) ** 2,
        on_negatives=ElementNegative(lambda x: F.softplus(x) ** 2),
        positive_weight=1.0,
    )

    def loss(x, target, avg_factor):
        return sigmoid_loss(x, target, None, rule, owner='Squared', avg_factor=avg_factor)

    x, target = big(-2.0, rows=40)
    got = value_and_gradient(loss, x, target)
    want = value_and_gradient(loss, x.double(), target)
    torch.testing.assert_close(got[0].double(), want[0])
    torch.testing.assert_close(got[1].double(), want[1], rtol=1e-5, atol=1e-7)
