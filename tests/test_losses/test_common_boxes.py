"""Every loss of boxes: extremes by property, reductions, gradients, tracing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.utils import digit_version
from torch.autograd import gradcheck

from .cases import CASES, names

IOU = [name for name in names('box') if name != 'oks_of_boxes']
ALL = IOU + names('difference', counted=False)


def build(name, **options):
    return CASES[name].build(**options)


coordinate = st.sampled_from([0.0, 1.0, -1.0, 5.0, 5.0 + 1e-6, 100.0, 1e4, -1e4, 1e6])
box = st.tuples(coordinate, coordinate, coordinate, coordinate)


@pytest.mark.parametrize('name', IOU)
@given(pairs=st.lists(st.tuples(box, box), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_never_nan_or_infinite(name, pairs):
    """Zero area, inverted, equal and far apart boxes are among these."""
    pred = torch.tensor([p for p, _ in pairs]).requires_grad_()
    target = torch.tensor([t for _, t in pairs])
    out = build(name)(pred, target, reduction_override='none')
    assert torch.isfinite(out).all()
    out.sum().backward()
    assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize('name', IOU)
def test_a_perfect_box_costs_nothing(name):
    boxes = torch.tensor([[3.0, 4, 13, 24], [0, 0, 7, 7]])
    out = build(name)(boxes, boxes, reduction_override='none')
    torch.testing.assert_close(out, torch.zeros_like(out), rtol=0, atol=1e-3)


@pytest.mark.parametrize('name', ALL)
def test_gradcheck_in_float64(name):
    if CASES[name].constant_part:
        pytest.skip('a part of it is a constant to gradients; see the reference outputs')
    generator = torch.Generator().manual_seed(3)
    low = torch.rand(6, 2, generator=generator, dtype=torch.float64) * 10
    pred = torch.cat((low, low + 3 + torch.rand(6, 2, generator=generator, dtype=torch.float64)), 1)
    target = pred + torch.rand(6, 4, generator=generator, dtype=torch.float64) * 0.9 + 0.05
    pred.requires_grad_()
    assert gradcheck(lambda v: build(name)(v, target, reduction_override='sum').double(), (pred,))


@pytest.mark.parametrize('name', ALL)
def test_reductions_and_weights_agree(name):
    generator = torch.Generator().manual_seed(4)
    low = torch.rand(5, 2, generator=generator) * 10
    pred = torch.cat((low, low + 4), 1)
    target = pred + torch.rand(5, 4, generator=generator)
    loss, weight = build(name), torch.tensor([0.0, 1, 2, 0.5, 3])
    none = loss(pred, target, reduction_override='none')
    rows = none.reshape(5, -1).sum(1)
    total = loss(pred, target, weight=weight, reduction_override='sum')
    torch.testing.assert_close(total, (rows * weight).sum(), rtol=1e-5, atol=1e-5)
    averaged = loss(pred, target, weight=weight, avg_factor=torch.tensor(7.0))
    torch.testing.assert_close(averaged, total / 7, rtol=1e-5, atol=1e-6)
    mean = loss(pred, target)
    torch.testing.assert_close(mean, none.mean(), rtol=1e-5, atol=1e-6)
    scaled = build(name, loss_weight=3.0)(pred, target)
    torch.testing.assert_close(scaled, 3 * mean, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match='avg_factor'):
        loss(pred, target, avg_factor=2.0, reduction_override='sum')


@pytest.mark.parametrize('name', ALL)
def test_empty_input_is_a_differentiable_zero(name):
    pred = torch.zeros(0, 4, requires_grad=True)
    out = build(name)(pred, torch.zeros(0, 4))
    out.backward()
    assert out == 0 and pred.grad.shape == (0, 4)


@pytest.mark.parametrize('name', ALL)
def test_wrong_shapes_state_both(name):
    with pytest.raises(ValueError, match=r'(?s)expected.*got'):
        build(name)(torch.zeros(3, 4), torch.zeros(2, 4))


@pytest.mark.skipif(
    digit_version(torch.__version__) < (2, 4), reason='PyTorch traces no dataclasses before 2.4'
)
@pytest.mark.parametrize('name', ALL)
def test_can_be_traced_whole(name):
    """``torch.compile`` finds nothing that it would have to leave to Python."""
    first, second = torch.rand(2, 6, 4)
    first[:, 2:] += first[:, :2]
    second[:, 2:] += second[:, :2]
    torch.compiler.reset()  # all losses share one forward, of which there is a limit
    loss = build(name)
    traced = torch.compile(loss, fullgraph=True, backend='eager')
    torch.testing.assert_close(traced(first, second), loss(first, second))
