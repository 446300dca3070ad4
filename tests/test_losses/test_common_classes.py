"""Every loss of classes: forms of the target, reductions, extremes, gradients."""

import pytest
import torch
from torch.autograd import gradcheck

from registry_losses.structures import ClassTargets

from .cases import CASES, names

R, C = 12, 5
SIGMOID = names('sigmoid', counted=False)
SOFTMAX = names('softmax')
ALL = SIGMOID + SOFTMAX
# Whose targets are qualities.
SOFT = ('quality', 'varifocal')


def build(name, **options):
    return CASES[name].build(C, **options)


def width(name):
    return C + 1 if name in SOFTMAX else C


def logits(name, dtype=torch.float32, scale=2.0):
    generator = torch.Generator().manual_seed(7)
    return (torch.randn(R, width(name), generator=generator) * scale).to(dtype)


def targets(*, soft=True):
    labels = torch.tensor([0, 5, 3, -1, 1, 5, 5, 2, -1, 4, 5, 5])
    generator = torch.Generator().manual_seed(8)
    scores = torch.rand(R, generator=generator) * 0.8 + 0.1 if soft else None
    return ClassTargets.from_labels(labels, C, scores=scores)


@pytest.mark.parametrize('name', SIGMOID)
def test_sparse_equals_dense_in_value_and_gradient(name):
    sparse = targets(soft=name in SOFT)
    loss = build(name)
    results = []
    for target in (sparse, sparse.dense()):
        x = logits(name).requires_grad_()
        if target is sparse:
            out = loss(x, target, reduction_override='sum')
        else:
            keep = (~sparse.ignored).float()
            out = loss(x, target, weight=keep, reduction_override='sum')
        results.append((out, torch.autograd.grad(out, x)[0]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', ALL)
def test_gradcheck_in_float64(name):
    if name == 'seesaw':
        pytest.skip('its cumulative counts make it a function of its history')
    loss, target = build(name), targets()
    x = logits(name, torch.float64, scale=1.0).requires_grad_()
    assert gradcheck(lambda v: loss(v, target, reduction_override='sum').double(), (x,))


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('scale', [1e4, -1e4])
def test_extreme_logits_have_finite_gradients(name, scale):
    x = (torch.linspace(-1, 1, R * width(name)).reshape(R, -1) * scale).requires_grad_()
    out = build(name)(x, targets())
    out.backward()
    assert torch.isfinite(out) and torch.isfinite(x.grad).all()


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_in_float32_inside(name, dtype):
    x = logits(name).to(dtype).requires_grad_()
    out = build(name)(x, targets(), reduction_override='sum')
    exact = build(name)(x.detach().float(), targets(), reduction_override='sum')
    out.backward()
    assert x.grad.dtype == dtype and torch.isfinite(x.grad).all()
    torch.testing.assert_close(out.float(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name', ALL)
def test_reductions_agree(name):
    if name == 'seesaw':
        pytest.skip('its cumulative counts make it a function of its history')
    loss, target, x = build(name), targets(), logits(name)
    none = loss(x, target, reduction_override='none')
    total = loss(x, target, reduction_override='sum')
    torch.testing.assert_close(none.sum(), total, rtol=1e-5, atol=1e-5)
    mean = loss(x, target, avg_factor=4.0)
    torch.testing.assert_close(mean, total / 4, rtol=1e-5, atol=1e-6)
    tensor = loss(x, target, avg_factor=torch.tensor(4.0))
    torch.testing.assert_close(tensor, mean)
    with pytest.raises(ValueError, match='avg_factor'):
        loss(x, target, avg_factor=4.0, reduction_override='sum')
    with pytest.raises(ValueError, match='reduction'):
        loss(x, target, reduction_override='average')


@pytest.mark.parametrize('name', ALL)
def test_row_weights_scale_rows(name):
    if name == 'seesaw':
        pytest.skip('its cumulative counts make it a function of its history')
    loss, target, x = build(name), targets(), logits(name)
    weight = torch.linspace(0, 2, R)
    rows = loss(x, target, reduction_override='none').reshape(R, -1).sum(1)
    weighted = loss(x, target, weight=weight, reduction_override='sum')
    torch.testing.assert_close(weighted, (rows * weight).sum(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', ALL)
def test_ignored_rows_charge_nothing(name):
    target = targets()
    x = logits(name).requires_grad_()
    build(name)(x, target, reduction_override='sum').backward()
    assert x.grad[target.ignored].abs().sum() == 0
    assert x.grad[~target.ignored].abs().sum() > 0


@pytest.mark.parametrize('name', ALL)
def test_empty_input_is_a_differentiable_zero(name):
    x = torch.zeros(0, width(name), requires_grad=True)
    none = torch.zeros(0, dtype=torch.long)
    out = build(name)(x, ClassTargets.from_labels(none, C))
    out.backward()
    assert out == 0 and x.grad.shape == x.shape


@pytest.mark.parametrize('name', ALL)
def test_class_weight_scales_classes(name):
    target, x = targets(soft=False), logits(name)
    number = C if name == 'seesaw' else width(name)
    ones = build(name, class_weight=[1.0] * number)(x, target, reduction_override='sum')
    plain = build(name)(x, target, reduction_override='sum')
    torch.testing.assert_close(ones, plain, rtol=1e-5, atol=1e-6)
    twice = build(name, class_weight=[2.0] * number)(x, target, reduction_override='none')
    once = build(name, class_weight=[1.0] * number)(x, target, reduction_override='none')
    factor = torch.full_like(once, 2.0)
    if name == 'bce':
        # OpenMMLab's sigmoid form weighs the positive term alone (PyTorch's pos_weight).
        factor = 1 + target.dense()
    if name == 'seesaw':
        # Background has no entry.
        factor = 1 + (target.labels()[0] < C).float()
    torch.testing.assert_close(twice, once * factor, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', SIGMOID)
def test_wrong_shapes_state_both(name):
    with pytest.raises(ValueError, match=r'(?s)expected.*got'):
        build(name)(torch.zeros(R, C + 2), targets())
