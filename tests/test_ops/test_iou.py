import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_losses.errors import ShapeError
from registry_losses.ops import (
    BoxPair,
    bbox_overlaps,
    ciou,
    diou,
    efficient_iou,
    extended_iou,
    giou,
    iou,
    nwd,
    siou,
)

MODES = ['iou', 'iof', 'giou', 'diou', 'ciou', 'eiou', 'siou', 'efficient_iou']


def naive(a, b, mode):
    """The definition, one pair at a time, in Python floats."""
    ax1, ay1, ax2, ay2 = a
    bx1, by1, bx2, by2 = b
    aw, ah, bw, bh = ax2 - ax1, ay2 - ay1, bx2 - bx1, by2 - by1
    iw = max(0, min(ax2, bx2) - max(ax1, bx1))
    ih = max(0, min(ay2, by2) - max(ay1, by1))
    inter, union = iw * ih, aw * ah + bw * bh - iw * ih
    value = inter / union
    if mode == 'iou':
        return value
    if mode == 'iof':
        return inter / (aw * ah)
    cw, ch = max(ax2, bx2) - min(ax1, bx1), max(ay2, by2) - min(ay1, by1)
    dx, dy = (bx1 + bx2 - ax1 - ax2) / 2, (by1 + by2 - ay1 - ay2) / 2
    distance = (dx**2 + dy**2) / (cw**2 + ch**2)
    if mode == 'giou':
        return value - (cw * ch - union) / (cw * ch)
    if mode == 'diou':
        return value - distance
    if mode == 'ciou':
        v = 4 / math.pi**2 * (math.atan(bw / bh) - math.atan(aw / ah)) ** 2
        alpha = v / (1 - value + v) if value > 0.5 and v else 0
        return value - distance - alpha * v
    if mode == 'efficient_iou':
        return value - distance - (aw - bw) ** 2 / cw**2 - (ah - bh) ** 2 / ch**2
    if mode == 'siou':
        sigma = math.hypot(dx, dy)
        angle = math.sin(2 * math.asin(min(1, abs(dy) / sigma))) if sigma else 0
        gamma = 2 - angle
        far = 2 - math.exp(-gamma * (dx / cw) ** 2) - math.exp(-gamma * (dy / ch) ** 2)
        shape = (1 - math.exp(-abs(aw - bw) / max(aw, bw))) ** 4
        shape += (1 - math.exp(-abs(ah - bh) / max(ah, bh))) ** 4
        return value - (far + shape) / 2
    left, top = min(ax1, bx1), min(ay1, by1)
    sx1, sy1 = max(ax1, bx1) - left, max(ay1, by1) - top
    sx2, sy2 = min(ax2, bx2) - left, min(ay2, by2) - top
    inter = sx2 * sy2 + min(sx1, sx2) * min(sy1, sy2)
    inter -= sx1 * max(sy1, sy2) + max(sx1, sx2) * sy1
    return inter / (aw * ah + bw * bh - inter)


def random_boxes(rng, n):
    low = rng.uniform(-50, 200, (n, 2))
    return np.concatenate((low, low + rng.uniform(1, 120, (n, 2))), axis=1)


@pytest.mark.parametrize('mode', MODES)
def test_every_measure_equals_its_definition(mode):
    rng = np.random.default_rng(3)
    first, second = random_boxes(rng, 25), random_boxes(rng, 20)
    second[:5] = first[:5] + rng.uniform(-5, 5, (5, 4))
    wanted = [[naive(a, b, mode) for b in second] for a in first]
    exact = bbox_overlaps(torch.tensor(first), torch.tensor(second), mode)
    np.testing.assert_allclose(exact, wanted, rtol=1e-5, atol=1e-6)
    single = bbox_overlaps(torch.tensor(first).float(), torch.tensor(second).float(), mode)
    np.testing.assert_allclose(single, wanted, rtol=1e-4, atol=2e-5)
    aligned = bbox_overlaps(torch.tensor(first[:20]), torch.tensor(second), mode, is_aligned=True)
    np.testing.assert_allclose(aligned, np.diag(np.array(wanted)), rtol=1e-5, atol=1e-6)


def test_hand_computed_values():
    a, b = torch.tensor([0.0, 0, 4, 2]), torch.tensor([2.0, 0, 6, 2])
    assert iou(a, b).item() == pytest.approx(4 / 12)
    assert giou(a, b).item() == pytest.approx(4 / 12)  # the enclosing box is the union
    assert diou(a, b).item() == pytest.approx(4 / 12 - 4 / 40, abs=1e-6)
    assert nwd(a, b).item() == pytest.approx(math.exp(-2 / 12.8))
    apart = torch.tensor([8.0, 0, 12, 2])
    assert giou(a, apart).item() == pytest.approx(-8 / 24)
    # 4 beyond the gap of 4: the extended intersection is minus the gap by twice the height.
    assert extended_iou(a, apart).item() == pytest.approx(-8 / 24)


def test_float32_arithmetic_is_that_of_the_quotient():
    """Assigners compare IoUs with thresholds and with each other: bits count."""
    rng = np.random.default_rng(0)
    first = random_boxes(rng, 300).astype(np.float32)
    second = random_boxes(rng, 40).astype(np.float32)
    a, b = first[:, None], second[None]
    zero, eps = np.float32(0), np.float32(1e-6)
    width = np.maximum(np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]), zero)
    height = np.maximum(np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]), zero)
    inter = width * height
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    wanted = inter / np.maximum(area_a + area_b - inter, eps)
    assert wanted.dtype == np.float32
    assert np.array_equal(bbox_overlaps(torch.tensor(first), torch.tensor(second)), wanted)
    wanted = inter / np.maximum(area_a, eps)
    got = bbox_overlaps(torch.tensor(first), torch.tensor(second), mode='iof')
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize('mode', MODES)
def test_gradients_agree_with_differences(mode):
    rng = np.random.default_rng(5)
    first = torch.tensor(random_boxes(rng, 12))
    second = torch.tensor(random_boxes(rng, 12))
    second[:6] = first[:6] + torch.tensor(rng.uniform(-6, 6, (6, 4)))
    if mode == 'ciou':  # alpha takes no gradient, so the difference quotient has a part more
        first, second = first[6:], second[6:]  # IoU below 0.5: alpha is 0
    first.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a: bbox_overlaps(a, second, mode, is_aligned=True), (first,)
    )


def test_boxes_that_touch_are_drawn_together():
    """On an edge in common the overlap is 0; any PyTorch gives its gradient from the inside."""
    first = torch.tensor([4.0, 0.0, 8.0, 2.0], requires_grad=True)
    (grad,) = torch.autograd.grad(BoxPair(first, torch.tensor([0.0, 0.0, 4.0, 2.0])).overlap, first)
    assert grad.tolist() == [-2.0, 0.0, 0.0, 0.0]


def test_ciou_gradient_leaves_alpha_out():
    a = torch.tensor([[0.0, 0, 10, 8]], dtype=torch.double, requires_grad=True)
    b = torch.tensor([[1.0, 0, 10, 10]], dtype=torch.double)
    (grad,) = torch.autograd.grad(ciou(a, b).sum(), a)
    w, h, value = a[:, 2] - a[:, 0], a[:, 3] - a[:, 1], iou(a, b).detach()
    v = 4 / math.pi**2 * (math.atan(9 / 10) - torch.atan(w / h)) ** 2
    alpha = (v / (1 - value + v)).detach()
    (wanted,) = torch.autograd.grad((diou(a, b) - alpha * v).sum(), a)
    torch.testing.assert_close(grad, wanted, rtol=1e-5, atol=1e-8)


coordinate = st.one_of(
    st.sampled_from([0.0, 1.0, 5.0, 5.0000005, 10.0, -3.0, 1e-8, 1e7, -1e10, 1e15]),
    st.floats(-1e6, 1e6, width=32),
)
box = st.tuples(coordinate, coordinate, coordinate, coordinate)


@settings(max_examples=100, deadline=None)
@given(first=st.lists(box, min_size=1, max_size=6), second=box, same=st.booleans())
@pytest.mark.parametrize('mode', [*MODES, 'nwd', 'siou_positive', 'ciou_ungated'])
def test_values_and_gradients_are_finite_for_any_boxes(mode, first, second, same):
    """Zero area, inverted, equal, far apart."""
    a = torch.tensor(first, dtype=torch.float32)
    b = a.clone() if same else torch.tensor(second, dtype=torch.float32).expand_as(a)
    a.requires_grad_()
    if mode == 'nwd':
        value = nwd(a, b)
    elif mode == 'siou_positive':
        value = siou(a, b, neg_gamma=False)
    elif mode == 'ciou_ungated':
        value = ciou(a, b, alpha_threshold=None)
    else:
        value = bbox_overlaps(a, b, mode, is_aligned=True)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(a.grad).all()


@settings(max_examples=60, deadline=None)
@given(first=box, second=box)
def test_ranges(first, second):
    a = torch.tensor([first], dtype=torch.float32)
    b = torch.tensor([second], dtype=torch.float32)
    assert 0 <= iou(a, b).item() <= 1.0001
    assert -1.0001 <= giou(a, b).item() <= 1.0001 or (a[:, 2:] < a[:, :2]).any()
    assert -1.0001 <= diou(a, b).item() <= 1.0001
    assert 0 <= nwd(a, b).item() <= 1


def test_equal_boxes_score_one_and_alpha_is_no_nan():
    a = torch.tensor([[3.0, 4, 50, 60]], requires_grad=True)
    for measure in (iou, giou, diou, ciou, extended_iou, efficient_iou, siou, nwd):
        value = measure(a, a.detach())
        assert value.item() == pytest.approx(1, abs=1e-6)
        (grad,) = torch.autograd.grad(value.sum(), a)
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize('side', [float('nan'), float('inf')])
def test_boxes_that_are_no_numbers_are_not_taken_for_a_perfect_match(side):
    a, b = torch.tensor([[0.0, 0, side, 8]]), torch.tensor([[0.0, 0, 8, 8]])
    assert not nwd(a, b).item() > 0.5


def test_concentric_boxes_have_diou_equal_iou():
    a, b = torch.tensor([0.0, 0, 10, 10]), torch.tensor([2.0, 3, 8, 7])
    assert diou(a, b).item() == pytest.approx(iou(a, b).item(), abs=1e-6)


def test_paper_sign_of_siou_falls_with_distance_and_the_other_rises():
    a = torch.tensor([0.0, 0, 10, 10])
    near, far = torch.tensor([20.0, 0, 30, 10]), torch.tensor([60.0, 0, 70, 10])
    assert siou(a, far) < siou(a, near)
    assert siou(a, far, neg_gamma=False) > siou(a, near, neg_gamma=False)


def test_nwd_does_not_need_boxes_that_meet_and_counts_sizes():
    a = torch.tensor([0.0, 0, 4, 4])
    assert nwd(a, torch.tensor([10.0, 0, 14, 4])) > nwd(a, torch.tensor([20.0, 0, 24, 4])) > 0
    same_centre = torch.tensor([-1.0, -1, 5, 5])  # sides longer by 2: W2 = (4 + 4) / 4
    assert nwd(a, same_centre, constant=10).item() == pytest.approx(math.exp(-math.sqrt(2) / 10))


def test_batches_broadcast():
    a, b = torch.rand(2, 3, 5, 4).cumsum(-1), torch.rand(2, 1, 7, 4).cumsum(-1)
    both = bbox_overlaps(a, b, 'giou')
    assert both.shape == (2, 3, 5, 7)
    assert torch.equal(both[1, 2], bbox_overlaps(a[1, 2], b[1, 0], 'giou'))


@pytest.mark.parametrize('mode', MODES)
def test_empty(mode):
    none, some = torch.zeros(0, 4), torch.rand(3, 4)
    assert bbox_overlaps(none, some, mode).shape == (0, 3)
    assert bbox_overlaps(some, none, mode).shape == (3, 0)
    assert bbox_overlaps(none, none, mode, is_aligned=True).shape == (0,)


def test_half_precision_is_computed_in_float32():
    a = torch.tensor([[0.0, 0, 300, 400]]).half()  # the area overflows in half precision
    assert bbox_overlaps(a, a).dtype == torch.float32
    assert bbox_overlaps(a, a).item() == 1
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert bbox_overlaps(a.float(), a.float() + 3).dtype == torch.float32


def test_errors():
    with pytest.raises(ValueError, match='expected one of iou, iof'):
        bbox_overlaps(torch.rand(2, 4), torch.rand(2, 4), 'jaccard')
    with pytest.raises(ShapeError, match=r'\(2, 5\)'):
        bbox_overlaps(torch.rand(2, 5), torch.rand(2, 4))
    with pytest.raises(ShapeError, match='as many in both'):
        bbox_overlaps(torch.rand(2, 4), torch.rand(3, 4), is_aligned=True)
    with pytest.raises(ShapeError, match='first boxes'):
        BoxPair(torch.rand(2, 3), torch.rand(2, 4))
