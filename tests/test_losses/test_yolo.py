"""YOLOV1Loss and YOLOV3Loss: their plain sums, by property."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

import registry_losses.losses as losses
from registry_losses.testing.reference.losses import systems

seeds = st.integers(0, 10**6)
few = settings(max_examples=15, deadline=None)


def random(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=seeds, rows=st.integers(0, 6), classes=st.integers(1, 3))
@few
def test_yolov1_sum_of_squares(seed, rows, classes):
    pred, target = random(seed, rows, 5 + classes), random(seed + 1, rows, 5 + classes)
    own = random(seed + 2, rows) > 0.5
    want = systems.yolov1(pred.tolist(), target.tolist(), own.tolist())
    got = losses.YOLOV1Loss()(pred, target, own, avg_factor=2.0)
    assert {k: v.item() for k, v in got.items()} == pytest.approx(
        {k: v / 2 for k, v in want.items()}, rel=1e-6, abs=1e-9
    )


@given(seed=seeds, rows=st.integers(0, 6), classes=st.integers(1, 3))
@few
def test_yolov3_sums(seed, rows, classes):
    pred, target = random(seed, rows, 5 + classes), random(seed + 1, rows, 5 + classes)
    own = random(seed + 2, rows) > 0.6
    ignored = (random(seed + 3, rows) > 0.5) & ~own
    rows = [part.tolist() for part in (pred, target, own, ignored)]
    want = systems.yolov3(*rows, lambda_coord=3.0, lambda_noobj=0.5)
    loss = losses.YOLOV3Loss(lambda_coord=3.0, lambda_noobj=0.5)
    got = loss(pred, target, own, ignored=ignored)
    assert {k: v.item() for k, v in got.items()} == pytest.approx(want, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ('cls', 'function'),
    [(losses.YOLOV1Loss, losses.yolov1_loss), (losses.YOLOV3Loss, losses.yolov3_loss)],
)
def test_the_function_equals_the_class(cls, function):
    pred, target = random(0, 6, 7), random(1, 6, 7)
    own = torch.tensor([True, False, False, True, False, True])
    options = dict(lambda_coord=2.0, lambda_noobj=0.1)
    got, want = cls(**options)(pred, target, own), function(pred, target, own, **options)
    assert got.keys() == want.keys()
    for key, value in got.items():
        torch.testing.assert_close(value, want[key])


@pytest.mark.parametrize('cls', [losses.YOLOV1Loss, losses.YOLOV3Loss])
def test_whole_system_gradcheck_and_errors(cls):
    pred, target = random(3, 4, 7).requires_grad_(), random(4, 4, 7)
    obj = torch.tensor([True, False, True, False])
    assert gradcheck(lambda v: sum(cls()(v, target, obj).values()), (pred,))
    with pytest.raises(ValueError, match=r'expected.*got'):
        cls()(pred, target, obj[:3])
    with pytest.raises(ValueError, match=r'expected.*got'):
        cls()(pred, target[:3], obj)


def test_yolo_small_box_weight():
    share = torch.tensor([[0.5, 0.25], [1.0, 1.0]])
    assert losses.small_box_weight(share).tolist() == pytest.approx([2 - 0.125, 1.0])
