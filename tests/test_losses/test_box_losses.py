"""Box losses: limits by hand, extremes by property, reductions, gradients."""

import math
import re
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

import registry_losses.losses as losses
from registry_losses.registry import MODELS

IOU = {
    'linear': lambda **k: losses.IoULoss(mode='linear', **k),
    'square': lambda **k: losses.IoULoss(mode='square', **k),
    'log': lambda **k: losses.IoULoss(mode='log', **k),
    'giou': lambda **k: losses.GIoULoss(**k),
    'diou': lambda **k: losses.DIoULoss(**k),
    'ciou': lambda **k: losses.CIoULoss(**k),
    'eiou': lambda **k: losses.EIoULoss(**k),
    'efficient': lambda **k: losses.EfficientIoULoss(**k),
    'siou': lambda **k: losses.SIoULoss(**k),
    'nwd': lambda **k: losses.NWDLoss(**k),
    'bounded': lambda **k: losses.BoundedIoULoss(**k),
    'yolo': lambda **k: losses.YOLOIoULoss(iou_mode='siou', **k),
}
ENCODED = {
    'l1': lambda **k: losses.L1Loss(**k),
    'mse': lambda **k: losses.MSELoss(**k),
    'smooth_l1': lambda **k: losses.SmoothL1Loss(beta=0.11, **k),
    'balanced_l1': lambda **k: losses.BalancedL1Loss(**k),
}
ALL = {**IOU, **ENCODED}

coordinate = st.sampled_from([0.0, 1.0, -1.0, 5.0, 5.0 + 1e-6, 100.0, 1e4, -1e4, 1e6])
box = st.tuples(coordinate, coordinate, coordinate, coordinate)


@pytest.mark.parametrize('name', IOU)
@given(pairs=st.lists(st.tuples(box, box), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_never_nan_or_infinite(name, pairs):
    """Zero area, inverted, equal and far apart boxes are among these."""
    pred = torch.tensor([p for p, _ in pairs]).requires_grad_()
    target = torch.tensor([t for _, t in pairs])
    out = IOU[name]()(pred, target, reduction_override='none')
    assert torch.isfinite(out).all()
    out.sum().backward()
    assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize('name', IOU)
def test_a_perfect_box_costs_nothing(name):
    boxes = torch.tensor([[3.0, 4, 13, 24], [0, 0, 7, 7]])
    out = IOU[name]()(boxes, boxes, reduction_override='none')
    torch.testing.assert_close(out, torch.zeros_like(out), rtol=0, atol=1e-3)


def test_iou_modes_by_hand():
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 0, 6, 4]])
    iou = 8 / 24
    for mode, want in (('linear', 1 - iou), ('square', 1 - iou**2), ('log', -math.log(iou))):
        got = losses.IoULoss(mode=mode)(pred, target)
        assert got.item() == pytest.approx(want, rel=1e-5)
    # The hull is 6 x 4, all of it covered.
    assert losses.GIoULoss()(pred, target).item() == pytest.approx(1 - iou, rel=1e-5)
    diou = 1 - iou + 4 / (36 + 16)
    assert losses.DIoULoss()(pred, target).item() == pytest.approx(diou, rel=1e-5)


def test_diou_of_concentric_boxes_is_iou():
    pred, target = torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([[2.0, 2, 6, 6]])
    diou = losses.DIoULoss()(pred, target)
    torch.testing.assert_close(diou, losses.IoULoss(mode='linear')(pred, target))


@pytest.mark.parametrize('name', ALL)
def test_gradcheck_in_float64(name):
    if name == 'ciou':
        pytest.skip('its trade-off is held constant by definition; see the reference outputs')
    generator = torch.Generator().manual_seed(3)
    low = torch.rand(6, 2, generator=generator, dtype=torch.float64) * 10
    pred = torch.cat((low, low + 3 + torch.rand(6, 2, generator=generator, dtype=torch.float64)), 1)
    target = pred + torch.rand(6, 4, generator=generator, dtype=torch.float64) * 0.9 + 0.05
    pred.requires_grad_()
    assert gradcheck(lambda v: ALL[name]()(v, target, reduction_override='sum').double(), (pred,))


@pytest.mark.parametrize('name', ALL)
def test_reductions_and_weights_agree(name):
    generator = torch.Generator().manual_seed(4)
    low = torch.rand(5, 2, generator=generator) * 10
    pred = torch.cat((low, low + 4), 1)
    target = pred + torch.rand(5, 4, generator=generator)
    loss, weight = ALL[name](), torch.tensor([0.0, 1, 2, 0.5, 3])
    none = loss(pred, target, reduction_override='none')
    rows = none.reshape(5, -1).sum(1)
    total = loss(pred, target, weight=weight, reduction_override='sum')
    torch.testing.assert_close(total, (rows * weight).sum(), rtol=1e-5, atol=1e-5)
    averaged = loss(pred, target, weight=weight, avg_factor=torch.tensor(7.0))
    torch.testing.assert_close(averaged, total / 7, rtol=1e-5, atol=1e-6)
    mean = loss(pred, target)
    torch.testing.assert_close(mean, none.mean(), rtol=1e-5, atol=1e-6)
    scaled = ALL[name](loss_weight=3.0)(pred, target)
    torch.testing.assert_close(scaled, 3 * mean, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match='avg_factor'):
        loss(pred, target, avg_factor=2.0, reduction_override='sum')


@pytest.mark.parametrize('name', ALL)
def test_empty_input_is_a_differentiable_zero(name):
    pred = torch.zeros(0, 4, requires_grad=True)
    out = ALL[name]()(pred, torch.zeros(0, 4))
    out.backward()
    assert out == 0 and pred.grad.shape == (0, 4)


@pytest.mark.parametrize('name', ALL)
def test_wrong_shapes_state_both(name):
    with pytest.raises(ValueError, match=r'(?s)expected.*got'):
        ALL[name]()(torch.zeros(3, 4), torch.zeros(2, 4))


def test_yolo_small_box_weight():
    share = torch.tensor([[0.5, 0.25], [1.0, 1.0]])
    assert losses.small_box_weight(share).tolist() == pytest.approx([2 - 0.125, 1.0])


def test_every_registered_loss_builds_and_documents_itself():
    registered = {
        name: cls
        for name, cls in MODELS.module_dict.items()
        if cls.__module__.startswith('registry_losses.losses')
    }
    assert len(registered) >= 30
    for name, cls in registered.items():
        MODELS.build(dict(type=f'registry_losses.{name}'))
        # A class that wraps a function points to it; the function tells the formula.
        named = re.findall(r':func:`(\w+)`', cls.__doc__)
        home = sys.modules[cls.__module__]
        texts = [(getattr(losses, f, None) or getattr(home, f)).__doc__ for f in named]
        assert len(' '.join([cls.__doc__, *texts])) > 200, name


@pytest.mark.parametrize('name', ALL)
def test_can_be_traced_whole(name):
    """``torch.compile`` finds nothing that it would have to leave to Python."""
    first, second = torch.rand(2, 6, 4)
    first[:, 2:] += first[:, :2]
    second[:, 2:] += second[:, :2]
    torch.compiler.reset()  # all losses share one forward, of which there is a limit
    loss = ALL[name]()
    traced = torch.compile(loss, fullgraph=True, backend='eager')
    torch.testing.assert_close(traced(first, second), loss(first, second))
