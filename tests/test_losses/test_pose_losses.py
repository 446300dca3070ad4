"""Pose and whole-system losses against naive double loops, by property."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

import registry_losses.losses as losses

seeds = st.integers(0, 10**6)
few = settings(max_examples=15, deadline=None)


def random(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=seeds, b=st.integers(1, 3), k=st.integers(1, 4), skip=st.booleans())
@few
def test_keypoint_mse_with_weights_and_mask(seed, b, k, skip):
    pred, target = random(seed, b, k, 3, 4), random(seed + 1, b, k, 3, 4)
    target[:, 0] = 0  # a map without a keypoint
    weights = (random(seed + 2, b, k) > 0.4).double()
    mask = (random(seed + 3, b, 1, 3, 4) > 0.3).double()
    loss = losses.KeypointMSELoss(use_target_weight=True, skip_empty_channel=skip)
    want = 0.0
    for i in range(b):
        for j in range(k):
            if skip and not target[i, j].any():
                continue
            for y in range(3):
                for x in range(4):
                    d = float(pred[i, j, y, x] - target[i, j, y, x])
                    want += float(weights[i, j] * mask[i, 0, y, x]) * d * d
    got = loss(pred, target, weights, mask)
    assert got.item() == pytest.approx(want / (b * k * 12), rel=1e-6, abs=1e-9)


@given(seed=seeds, b=st.integers(1, 3), topk=st.integers(1, 5))
@few
def test_ohkm_keeps_the_worst_keypoints(seed, b, topk):
    pred, target = random(seed, b, 5, 2, 3), random(seed + 1, b, 5, 2, 3)
    weights = random(seed + 2, b, 5)
    want = 0.0
    for i in range(b):
        each = [
            float(weights[i, j] * (pred[i, j] - target[i, j]).square().mean()) for j in range(5)
        ]
        want += sum(sorted(each, reverse=True)[:topk]) / topk / b
    loss = losses.KeypointOHKMMSELoss(use_target_weight=True, topk=topk)
    assert loss(pred, target, weights).item() == pytest.approx(want, rel=1e-6)


@given(seed=seeds, theta=st.sampled_from([0.3, 0.5, 0.8]))
@few
def test_adaptive_wing(seed, theta):
    pred, target = random(seed, 1, 2, 2, 3) * 2 - 0.5, random(seed + 1, 1, 2, 2, 3)
    got = losses.AdaptiveWingLoss(theta=theta)(pred, target, reduction_override='none')
    alpha, omega = 2.1, 14.0
    for p, v, out in zip(*(t.flatten().tolist() for t in (pred, target, got))):
        d, e = abs(p - v), alpha - v
        slope = omega / (1 + theta**e) * e * theta ** (e - 1)
        curve = omega * math.log(1 + d**e)
        line = slope * d - (theta * slope - omega * math.log(1 + theta**e))
        assert out == pytest.approx(curve if d < theta else line, rel=1e-6)


@given(
    seed=seeds,
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    form=st.sampled_from(['openmmlab', 'paper']),
    diagonal=st.booleans(),
)
@few
def test_associative_embedding(seed, counts, form, diagonal):
    k, size = 3, 4
    tags = random(seed, len(counts), k, size, size) * 3
    generator = torch.Generator().manual_seed(seed)
    indices = []
    for n in counts:
        place = torch.randint(0, size * size, (n, k), generator=generator)
        seen = torch.randint(0, 2, (n, k), generator=generator)
        indices.append(torch.stack((place, seen), -1))
    pull = push = 0.0
    for i, part in enumerate(indices):
        means, spread = [], 0.0
        for person in part:
            own = [tags[i, j, y // size, y % size].item() for j, (y, s) in enumerate(person) if s]
            if own:
                mean = sum(own) / len(own)
                means.append(mean)
                square = sum((h - mean) ** 2 for h in own)
                spread += square / len(own) if form == 'openmmlab' else square
        n = len(means)
        if n:
            pull += spread / n
        pairs = [(a, b) for a in range(n) for b in range(n) if diagonal or a != b]
        width = 1.0 if form == 'openmmlab' else 2.0
        near = sum(math.exp(-((means[a] - means[b]) ** 2) / width) for a, b in pairs)
        if form == 'paper' and n:
            push += near / n**2
        elif form == 'openmmlab' and n > 1:
            push += near / (n * (n - 1))
    loss = losses.AssociativeEmbeddingLoss(push_loss_factor=0.5, form=form, diagonal=diagonal)
    got = loss(tags, indices)
    assert got[0].item() == pytest.approx(pull, rel=1e-5, abs=1e-7)
    assert got[1].item() == pytest.approx(0.5 * push, rel=1e-5, abs=1e-7)


@given(seed=seeds, limbs=st.integers(1, 3))
@few
def test_part_affinity_fields(seed, limbs):
    pred, target = random(seed, 2, 2 * limbs, 2, 3), random(seed + 1, 2, 2 * limbs, 2, 3)
    mask = (random(seed + 2, 2, 2, 3) > 0.5).double()
    want = 0.0
    for i in range(2):
        for c in range(2 * limbs):
            for y in range(2):
                for x in range(3):
                    d = float(pred[i, c, y, x] - target[i, c, y, x])
                    want += float(mask[i, y, x]) * d * d
    got = losses.PAFLoss(reduction='sum')(pred, target, mask)
    assert got.item() == pytest.approx(want, rel=1e-6, abs=1e-9)


@given(seed=seeds, n=st.integers(1, 4))
@few
def test_oks(seed, n):
    sigmas = (0.05, 0.1, 0.2)
    pred, target = random(seed, n, 3, 2) * 20, random(seed + 1, n, 3, 2) * 20
    area = random(seed + 2, n) * 500 + 50
    seen = (random(seed + 3, n, 3) > 0.4).double()
    got = losses.OKSLoss(sigmas=sigmas, reduction='none')(
        pred, target, area=area, visible=seen
    ).tolist()
    for i in range(n):
        part = []
        for v in range(3):
            if seen[i, v]:
                d2 = float((pred[i, v] - target[i, v]).square().sum())
                part.append(math.exp(-d2 / (2 * float(area[i]) * (2 * sigmas[v]) ** 2)))
        want = 1 - sum(part) / len(part) if part else 0.0
        assert got[i] == pytest.approx(want, rel=1e-6, abs=1e-9)


@given(seed=seeds, rows=st.integers(0, 6), classes=st.integers(1, 3))
@few
def test_yolov1_sum_of_squares(seed, rows, classes):
    pred, target = random(seed, rows, 5 + classes), random(seed + 1, rows, 5 + classes)
    obj = random(seed + 2, rows) > 0.5
    want = dict(loss_xy=0.0, loss_wh=0.0, loss_conf=0.0, loss_cls=0.0)
    for p, t, o in zip(pred.tolist(), target.tolist(), obj.tolist()):
        want['loss_conf'] += (1.0 if o else 0.5) * (p[4] - t[4]) ** 2
        if o:
            want['loss_xy'] += 5 * sum((p[i] - t[i]) ** 2 for i in (0, 1))
            want['loss_wh'] += 5 * sum((p[i] ** 0.5 - t[i] ** 0.5) ** 2 for i in (2, 3))
            want['loss_cls'] += sum((p[i] - t[i]) ** 2 for i in range(5, 5 + classes))
    got = losses.YOLOV1Loss()(pred, target, obj, avg_factor=2.0)
    assert {k: v.item() for k, v in got.items()} == pytest.approx(
        {k: v / 2 for k, v in want.items()}, rel=1e-6, abs=1e-9
    )


@given(seed=seeds, rows=st.integers(0, 6), classes=st.integers(1, 3))
@few
def test_yolov3_sums(seed, rows, classes):
    pred, target = random(seed, rows, 5 + classes), random(seed + 1, rows, 5 + classes)
    obj = random(seed + 2, rows) > 0.6
    ignored = (random(seed + 3, rows) > 0.5) & ~obj
    want = dict(loss_bbox=0.0, loss_conf=0.0, loss_cls=0.0)
    for p, t, o, skip in zip(pred.tolist(), target.tolist(), obj.tolist(), ignored.tolist()):
        if o:
            square = sum((p[i] - t[i]) ** 2 for i in range(4))
            want['loss_bbox'] += 3 * (2 - t[2] * t[3]) * square
            want['loss_conf'] += (p[4] - t[4]) ** 2
            want['loss_cls'] -= sum(t[i] * math.log(p[i]) for i in range(5, 5 + classes))
        elif not skip:
            want['loss_conf'] += 0.5 * (p[4] - t[4]) ** 2
    loss = losses.YOLOV3Loss(lambda_coord=3.0, lambda_noobj=0.5)
    got = loss(pred, target, obj, ignored=ignored)
    assert {k: v.item() for k, v in got.items()} == pytest.approx(want, rel=1e-6, abs=1e-9)


POSE = {
    'mse': (losses.KeypointMSELoss(), (2, 3, 2, 2)),
    'ohkm': (losses.KeypointOHKMMSELoss(topk=2), (2, 3, 2, 2)),
    'wing': (losses.AdaptiveWingLoss(), (2, 3, 2, 2)),
    'paf': (losses.PAFLoss(), (2, 4, 2, 2)),
    'oks': (losses.OKSLoss(), (3, 4)),
}


@pytest.mark.parametrize('name', POSE)
def test_gradcheck_empty_and_extremes(name):
    loss, shape = POSE[name]
    pred, target = random(1, *shape), random(2, *shape)
    if name == 'oks':
        pred, target = pred + torch.tensor([0, 0, 9, 9.0]), target + torch.tensor([0, 0, 9, 9.0])
    assert gradcheck(lambda v: loss(v, target), (pred.requires_grad_(),))
    empty = torch.zeros(0, *shape[1:], requires_grad=True)
    out = loss(empty, torch.zeros_like(empty))
    out.backward()
    assert out == 0 and empty.grad.shape == empty.shape
    far = torch.full(shape, 1e4, requires_grad=True)
    loss(far, target.float()).backward()
    assert torch.isfinite(far.grad).all()


@pytest.mark.parametrize('cls', [losses.YOLOV1Loss, losses.YOLOV3Loss])
def test_whole_system_gradcheck_and_errors(cls):
    pred, target = random(3, 4, 7).requires_grad_(), random(4, 4, 7)
    obj = torch.tensor([True, False, True, False])
    assert gradcheck(lambda v: sum(cls()(v, target, obj).values()), (pred,))
    with pytest.raises(ValueError, match=r'expected.*got'):
        cls()(pred, target, obj[:3])
    with pytest.raises(ValueError, match=r'expected.*got'):
        cls()(pred, target[:3], obj)


def test_embedding_gradcheck():
    tags = random(5, 2, 3, 2, 2).requires_grad_()
    index = torch.tensor([[[0, 1], [1, 1], [2, 1]], [[3, 1], [0, 0], [1, 1]]])
    loss = losses.AssociativeEmbeddingLoss()
    assert gradcheck(lambda v: sum(loss(v, [index, index[:1]])), (tags,))
