"""Classification losses: limits, forms of the target, reductions, extremes, gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from registry_losses.losses import (
    AsymmetricLoss,
    CrossEntropyLoss,
    FocalLoss,
    GaussianFocalLoss,
    PolyLoss,
    QualityFocalLoss,
    SeesawLoss,
    VarifocalLoss,
)
from registry_losses.structures import ClassTargets

R, C = 12, 5
SIGMOID = {
    'focal': lambda **k: FocalLoss(**k),
    'focal_gamma_below_1': lambda **k: FocalLoss(gamma=0.5, **k),
    'bce': lambda **k: CrossEntropyLoss(use_sigmoid=True, **k),
    'quality': lambda **k: QualityFocalLoss(**k),
    'varifocal': lambda **k: VarifocalLoss(**k),
    'gaussian': lambda **k: GaussianFocalLoss(use_sigmoid=True, **k),
    'poly': lambda **k: PolyLoss(**k),
    'asymmetric': lambda **k: AsymmetricLoss(**k),
}
SOFTMAX = {
    'cross_entropy': lambda **k: CrossEntropyLoss(**k),
    'softmax_focal': lambda **k: FocalLoss(activation='softmax', **k),
    'seesaw': lambda **k: SeesawLoss(num_classes=C, **k),
}
ALL = {**SIGMOID, **SOFTMAX}


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
    sparse = targets(soft=name in ('quality', 'varifocal'))
    loss = SIGMOID[name]()
    results = []
    for target in (sparse, sparse.dense()):
        x = logits(name).requires_grad_()
        weight = (~sparse.ignored).float()[:, None]
        if target is sparse:
            out = loss(x, target, reduction_override='sum')
        else:
            call = dict(weight=weight.expand(R, C), reduction_override='sum')
            if name in ('focal', 'focal_gamma_below_1', 'bce', 'poly', 'asymmetric'):
                target = target.round() if name != 'bce' else target
            if name == 'quality':
                labels, scores, keep = sparse.label_score()
                target, call['weight'] = (labels, scores), keep
            out = loss(x, target, **call)
        results.append((out, torch.autograd.grad(out, x)[0]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', ALL)
def test_gradcheck_in_float64(name):
    if name == 'seesaw':
        pytest.skip('its cumulative counts make it a function of its history')
    loss, target = ALL[name](), targets()
    x = logits(name, torch.float64, scale=1.0).requires_grad_()
    assert gradcheck(lambda v: loss(v, target, reduction_override='sum').double(), (x,))


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('scale', [1e4, -1e4])
def test_extreme_logits_have_finite_gradients(name, scale):
    x = (torch.linspace(-1, 1, R * width(name)).reshape(R, -1) * scale).requires_grad_()
    out = ALL[name]()(x, targets())
    out.backward()
    assert torch.isfinite(out) and torch.isfinite(x.grad).all()


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_in_float32_inside(name, dtype):
    x = logits(name).to(dtype).requires_grad_()
    out = ALL[name]()(x, targets(), reduction_override='sum')
    exact = ALL[name]()(x.detach().float(), targets(), reduction_override='sum')
    out.backward()
    assert x.grad.dtype == dtype and torch.isfinite(x.grad).all()
    torch.testing.assert_close(out.float(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name', ALL)
def test_reductions_agree(name):
    if name == 'seesaw':
        pytest.skip('its cumulative counts make it a function of its history')
    loss, target, x = ALL[name](), targets(), logits(name)
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
    loss, target, x = ALL[name](), targets(), logits(name)
    weight = torch.linspace(0, 2, R)
    rows = loss(x, target, reduction_override='none').reshape(R, -1).sum(1)
    weighted = loss(x, target, weight=weight, reduction_override='sum')
    torch.testing.assert_close(weighted, (rows * weight).sum(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', ALL)
def test_ignored_rows_charge_nothing(name):
    target = targets()
    x = logits(name).requires_grad_()
    ALL[name]()(x, target, reduction_override='sum').backward()
    assert x.grad[target.ignored].abs().sum() == 0
    assert x.grad[~target.ignored].abs().sum() > 0


@pytest.mark.parametrize('name', ALL)
def test_empty_input_is_a_differentiable_zero(name):
    x = torch.zeros(0, width(name), requires_grad=True)
    none = torch.zeros(0, dtype=torch.long)
    out = ALL[name]()(x, ClassTargets.from_labels(none, C))
    out.backward()
    assert out == 0 and x.grad.shape == x.shape


@pytest.mark.parametrize('name', ALL)
def test_class_weight_scales_classes(name):
    target, x = targets(soft=False), logits(name)
    number = C if name == 'seesaw' else width(name)
    ones = ALL[name](class_weight=[1.0] * number)(x, target, reduction_override='sum')
    plain = ALL[name]()(x, target, reduction_override='sum')
    torch.testing.assert_close(ones, plain, rtol=1e-5, atol=1e-6)
    twice = ALL[name](class_weight=[2.0] * number)(x, target, reduction_override='none')
    once = ALL[name](class_weight=[1.0] * number)(x, target, reduction_override='none')
    factor = torch.full_like(once, 2.0)
    if name == 'bce':
        # OpenMMLab's sigmoid form weighs the positive term alone (PyTorch's pos_weight).
        factor = 1 + target.dense()
    if name == 'seesaw':
        # Background has no entry.
        factor = 1 + (target.labels()[0] < C).float()
    torch.testing.assert_close(twice, once * factor, rtol=1e-5, atol=1e-5)


def test_focal_at_gamma_0_is_the_balanced_cross_entropy():
    x, target = logits('focal'), targets(soft=False)
    dense, keep = target.dense(), (~target.ignored).float()[:, None]
    bce = F.binary_cross_entropy_with_logits(x, dense, reduction='none')
    balanced = (torch.where(dense == 1, 0.3, 0.7) * bce * keep).sum()
    focal = FocalLoss(gamma=0.0, alpha=0.3)(x, target, reduction_override='sum')
    torch.testing.assert_close(focal, balanced, rtol=1e-5, atol=1e-6)


def test_focal_by_hand():
    x = torch.tensor([[0.5, -1.0]])
    loss = FocalLoss()(x, torch.tensor([0]), reduction_override='none')
    p, q = 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(1.0))
    want = [-0.25 * (1 - p) ** 2 * math.log(p), -0.75 * q**2 * math.log(1 - q)]
    assert loss[0].tolist() == pytest.approx(want, rel=1e-5)


def test_softmax_focal_by_hand():
    x = torch.tensor([[1.0, 0.0, -1.0]])
    p = float(x.softmax(-1)[0, 1])
    loss = FocalLoss(activation='softmax', alpha=[0.5, 0.25, 1.0], gamma=2.0)
    out = loss(x, torch.tensor([1]), reduction_override='sum')
    assert out.item() == pytest.approx(-0.25 * (1 - p) ** 2 * math.log(p), rel=1e-5)


def test_softmax_charges_quality_at_the_class_and_the_rest_at_background():
    x = torch.tensor([[1.0, 0.0, -1.0]])
    target = ClassTargets.from_labels(torch.tensor([0]), 2, scores=torch.tensor([0.75]))
    log_p = x.log_softmax(-1)[0]
    want = -(0.75 * log_p[0] + 0.25 * log_p[2])
    out = CrossEntropyLoss()(x, target, reduction_override='sum')
    torch.testing.assert_close(out, want, rtol=1e-5, atol=1e-6)


def test_label_smoothing_equals_torch():
    x, labels = logits('cross_entropy'), torch.tensor([0, 5, 3, 1, 1, 5, 5, 2, 2, 4, 5, 5])
    ours = CrossEntropyLoss(label_smoothing=0.1)(x, labels)
    torch.testing.assert_close(ours, F.cross_entropy(x, labels, label_smoothing=0.1))


@pytest.mark.parametrize('name', SIGMOID)
def test_wrong_shapes_state_both(name):
    with pytest.raises(ValueError, match=r'(?s)expected.*got'):
        SIGMOID[name]()(torch.zeros(R, C + 2), targets())


def test_print_shows_the_settings():
    loss = FocalLoss(gamma=1.5, alpha=0.4, loss_weight=2.0)
    shown = repr(loss)
    assert 'gamma=1.5' in shown and 'alpha=0.4' in shown and 'loss_weight=2.0' in shown
    assert 'gamma=1.5' not in repr(FocalLoss())
