"""Every loss under calls that nobody meant, and under all that a call may vary.

What cannot be meant is refused with what was expected and what came; what can be has the
value of the plain call, the dtype of the prediction and a gradient.
"""

from functools import partial

import pytest
import torch

import registry_losses.losses as losses
from registry_losses.errors import DataError, RegistryLossesError
from registry_losses.structures import ClassTargets

from .cases import CASES, example, random

R, C = 6, 4
LABELS = torch.tensor([0, 1, 4, -1, 3, 2])
SPARSE = ClassTargets.from_labels(LABELS, C)


LOGITS = random(R, C + 1) * 4 - 2
MAPS = (random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1))


def calls():
    """Name and form to constructor, prediction and target."""
    for name, case in CASES.items():
        pred, targets = example(name, LABELS, C)
        build = partial(case.build, C)
        if name == 'seesaw':
            build = lambda case=case, **k: case.build(C, **k).eval()  # noqa: E731
        for form, target in targets.items():
            yield f'{name}-{form}', (build, pred, target)


CALLS = dict(calls())

LABEL_CASES = [name for name in CALLS if name.endswith('-labels')]
# Of these a weight says only whether, or how often, a row counts.
COUNTED = [name for name in CALLS if CASES[name.split('-')[0]].counted]


def value_and_grad(name, pred=None, target=None, **call):
    build, plain, of = CALLS[name]
    pred = (plain if pred is None else pred).detach().requires_grad_()
    out = build()(pred, of if target is None else target, **call)
    (grad,) = torch.autograd.grad(out.sum(), pred)
    return out.detach(), grad


@pytest.mark.parametrize('name', CALLS)
def test_calls_that_cannot_be_meant(name):
    build, pred, target = CALLS[name]
    rows = pred.shape[0]
    bad = [
        dict(pred=None),
        dict(pred=pred.tolist()),
        dict(pred=pred.long()),
        dict(pred=pred > 0),
        dict(pred=pred + 0j),
        dict(pred=pred[None]),
        dict(pred=pred[0, 0]),
        dict(pred=pred[:-1]),
        dict(target=None),
        dict(target='x'),
        dict(target=torch.zeros(rows, 9, 9)),
        dict(weight=2.0),
        dict(weight=[1.0] * rows),
        dict(weight=torch.ones(rows + 1)),
        dict(weight=torch.ones(2 * rows)),
        dict(weight=torch.ones(pred.shape[::-1])),
        dict(weight=torch.ones(rows, 1, 1, 1, 1, 9)),
        dict(avg_factor=-1.0),
        dict(avg_factor=torch.tensor(-1.0)),
        dict(avg_factor=float('nan')),
        dict(avg_factor=True),
        dict(avg_factor='3'),
        dict(avg_factor=torch.ones(rows)),
        dict(avg_factor=[3.0]),
        dict(reduction_override='average'),
        dict(reduction_override=True),
        dict(reduction_override=''),
    ]
    for call in bad:
        given = {'pred': pred, 'target': target, **call}
        with pytest.raises(RegistryLossesError, match=r'(?s)expected.*got') as caught:
            build()(given.pop('pred'), given.pop('target'), **given)
        assert isinstance(caught.value, ValueError)
    with pytest.raises(ValueError, match='a sum is divided by nothing'):
        build()(pred, target, avg_factor=2.0, reduction_override='sum')


@pytest.mark.parametrize('name', CALLS)
def test_what_may_vary_changes_nothing(name):
    """Dtypes of all but the prediction, memory layouts, one number in any shape."""
    _, pred, target = CALLS[name]
    weight, rows = torch.ones(pred.shape[0]), pred.shape[0]
    want = value_and_grad(name)
    half = value_and_grad(name, avg_factor=2.0, weight=weight)
    layout = pred.transpose(0, 1).contiguous().transpose(0, 1)
    same = [
        dict(pred=layout),
        dict(weight=torch.tensor(1.0)),
        dict(weight=torch.ones(1)),
        dict(weight=torch.ones((1,) * pred.dim())),
        *(dict(weight=weight.to(d)) for d in (torch.float64, torch.float16, torch.int64)),
        dict(weight=weight.bool()),
        dict(weight=weight.clone().requires_grad_()),
    ]
    if isinstance(target, torch.Tensor) and target.is_floating_point():
        same += [dict(target=target.double()), dict(target=target.clone().requires_grad_())]
    for call in same:
        got = value_and_grad(name, **call)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
        assert got[0].shape == () and got[1].shape == (rows, *pred.shape[1:])
    two = torch.tensor(2.0)
    for avg_factor in (2, two, two[None], two.double(), two.half(), two.long()):
        got = value_and_grad(name, avg_factor=avg_factor, weight=weight)
        torch.testing.assert_close(got, half, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', CALLS)
def test_the_prediction_decides_the_dtype(name):
    _, pred, target = CALLS[name]
    dense = isinstance(target, torch.Tensor) and target.is_floating_point()
    for dtype, wide in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float64),
    ):
        rounded = pred.to(dtype)
        for reduction in ('none', 'mean'):
            out, grad = value_and_grad(name, rounded, reduction_override=reduction)
            assert out.dtype == wide and grad.dtype == dtype
            exact, _ = value_and_grad(name, rounded.double(), reduction_override=reduction)
            torch.testing.assert_close(out.double(), exact.double(), rtol=1e-4, atol=1e-5)
        if dense:
            out, _ = value_and_grad(name, rounded, target.to(dtype))
            assert out.dtype == wide


@pytest.mark.parametrize('name', [name for name in CALLS if name not in COUNTED])
def test_a_weight_multiplies(name):
    pred = CALLS[name][1]
    once, _ = value_and_grad(name, reduction_override='sum')
    for weight in (torch.tensor(3.0), torch.full((1,), 3.0), torch.full(pred.shape[:1], 3.0)):
        if name == 'keypoint_ohkm-dense' and weight.dim() == 1 and len(weight) > 1:
            weight = weight[:, None]  # (B, K): which keypoints are worst depends on it
        out, _ = value_and_grad(name, weight=weight, reduction_override='sum')
        torch.testing.assert_close(out, 3 * once, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', LABEL_CASES)
def test_labels(name):
    build, pred, target = CALLS[name]
    high = target.clone()
    high[3] = C + 1
    with pytest.raises(DataError, match=rf'{type(build()).__name__}: labels: .* {C}.*got {C + 1}'):
        build()(pred, high)
    with pytest.raises(ValueError, match=r'(?s)expected.*int labels.*got torch\.bool'):
        build()(pred, target > 0)
    want = value_and_grad(name)
    for other in (target.int(), target.to(torch.int16), torch.where(target < 0, -100, target)):
        torch.testing.assert_close(value_and_grad(name, target=other), want)


def test_labels_without_a_background_column():
    x, labels = LOGITS[:, :C], LABELS.clamp(0, C - 1)
    assert losses.CrossEntropyLoss()(x, labels).item() > 0
    with pytest.raises(DataError, match=r'CrossEntropyLoss: labels: expected at most 3'):
        losses.CrossEntropyLoss()(x, LABELS)
    with pytest.raises(DataError, match=r'seesaw_loss: labels: expected at most 3.*got 4'):
        losses.seesaw_loss(x, LABELS, torch.ones(C))
    with pytest.raises(DataError, match='QualityFocalLoss: labels: expected at most 4'):
        losses.QualityFocalLoss()(x, (LABELS + 1, random(R)))


def test_an_ignored_label_may_be_any():
    x, labels = LOGITS[:, :C], torch.tensor([0, 255, 4, -1, 3, 2])
    for dtype in (torch.int64, torch.uint8, torch.int32):
        given = labels.clamp(min=0).to(dtype)
        for loss, pred in (
            (losses.CrossEntropyLoss(True, ignore_index=255), x),
            (losses.CrossEntropyLoss(ignore_index=255), LOGITS),
        ):
            kept = given != 255
            want = loss(pred[kept], given[kept].long(), reduction_override='sum')
            got = loss(pred, given, reduction_override='sum')
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
            with pytest.raises(DataError, match='got 255'):
                type(loss)(loss.use_sigmoid)(pred, given)


def test_logits_are_no_probabilities():
    for loss in (
        losses.GaussianFocalLoss(),
        losses.FocalLoss(activated=True),
        losses.QualityFocalLoss(activated=True),
    ):
        with pytest.raises(DataError, match=r'expected probabilities from 0 to 1, got -\d'):
            loss(LOGITS, torch.zeros(R, C + 1))


# ---------------------------------------------------------------- transforms of torch


@pytest.mark.parametrize('name', CALLS)
def test_transforms_of_torch_func(name):
    build, pred, target = CALLS[name]
    loss = build()
    for reduction in ('mean', 'none'):
        _, want = value_and_grad(name, reduction_override=reduction)

        def total(x, r=reduction):
            return loss(x, target, reduction_override=r).sum()

        torch.testing.assert_close(torch.func.grad(total)(pred), want, rtol=1e-4, atol=1e-6)
    both = torch.stack((pred, pred.flip(0)))
    each = torch.stack([loss(x, target) for x in both])
    torch.testing.assert_close(torch.vmap(lambda x: loss(x, target))(both), each)
    if CASES[name.split('-')[0]].constant_part:
        return  # that part is a constant to gradients, but not in forward mode
    _, slope = torch.func.jvp(total, (pred,), (torch.ones_like(pred),))
    torch.testing.assert_close(slope, want.sum(), rtol=1e-3, atol=1e-5)


def test_gradients_of_qualities_are_those_of_dense_values():
    scores = random(R) * 0.8 + 0.1
    for loss in (losses.QualityFocalLoss(), losses.VarifocalLoss()):
        grads = []
        for sparse in (True, False):
            leaf = scores.clone().requires_grad_()
            target = ClassTargets.from_labels(LABELS, C, scores=leaf)
            weight = (~target.ignored).float()
            call = (target,) if sparse else (target.dense(), weight)
            out = loss(LOGITS[:, :C], *call, reduction_override='sum')
            grads.append(torch.autograd.grad(out, leaf)[0])
        assert grads[0].any()
        torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)


# -------------------------------------------------------------- calls of other shapes


def test_embedding_refuses():
    tags, index = random(2, 3, 4, 5), torch.tensor([[[0, 1], [1, 1], [2, 0]]])
    loss = losses.AssociativeEmbeddingLoss()
    assert loss(tags, [index, index])[1] == 0  # one person has nobody to be pushed from
    empty = loss(tags[:0].requires_grad_(), [])
    assert empty[0] == 0 and empty[0].requires_grad
    for given, part in (
        (None, 'NoneType|None'),
        ([[1], [2]], r'\[\[1\], \[2\]\]'),
        ([index.float(), index], 'torch.float32'),
        ([index[0], index], r'\(3, 2\)'),
        ([index[:, :2], index], r'\(1, 3, 2\)'),
        ([index + 59, index], '59 to 61'),
        ([index - 1, index], '-1 to 1'),
    ):
        with pytest.raises(ValueError, match=rf'keypoint_indices: expected.*got.*({part})'):
            loss(tags, given)
    for given in (2.0, [torch.ones(1), torch.ones(2)], [torch.ones(1)]):
        with pytest.raises(ValueError, match=r'person_weights?: expected.*got'):
            loss(tags, [index, index], given)
    person, image = torch.tensor([0, 0, 1]), torch.tensor([0, 0])
    for joint, of, part in ((person + 1, image, '1 to 2'), (person, image + 1, '1 to 1')):
        with pytest.raises(DataError, match=rf'expected 0 to .*got {part}'):
            losses.associative_embedding(random(3, 1), joint, of, 1)


def test_peaks_refuse():
    loss, p = losses.GaussianFocalLoss(), random(R, C)
    with pytest.raises(ValueError, match=r'expected int64.*got torch.float32.*fifth argument'):
        loss(p, p, torch.ones(R))
    one = torch.tensor([1])
    for rows, labels, part in ((one + 5, one, '6 to 6'), (one, one - 2, '-1 to -1')):
        with pytest.raises(DataError, match=f'expected 0 to .*got {part}'):
            loss(p, p, rows, labels)
    with pytest.raises(ValueError, match=r'expected the shape of pred \(6, 4\), got \(2, 4\)'):
        loss(p, p[:2], one, one)


@pytest.mark.parametrize('loss', [losses.YOLOV1Loss(), losses.YOLOV3Loss()])
def test_whole_systems_refuse(loss):
    pred, own = random(R, 7), LABELS > 1
    want = loss(pred, pred / 2, own)
    for responsible in (own.long(), own.float()):
        torch.testing.assert_close(loss(pred, pred.double() / 2, responsible), want)
    for given in ((pred.long(), pred, own), (pred, None, own), (pred, pred, None)):
        with pytest.raises(ValueError, match=r'expected.*got'):
            loss(*given)
    for avg_factor in (-1, 'x', torch.ones(2), True):
        with pytest.raises(ValueError, match=r'avg_factor: expected.*got'):
            loss(pred, pred, own, avg_factor)
    half = loss(pred, pred / 2, own, torch.tensor([2.0]))
    for key, value in half.items():
        torch.testing.assert_close(value, want[key] / 2)


def test_oks_and_heatmaps_refuse():
    points, area = random(3, 17, 2) * 50, torch.tensor([90.0, 40, 10])
    loss = losses.OKSLoss()
    seen = torch.ones(3, 17)
    want = loss(points, points + 1, area=area, visible=seen)
    torch.testing.assert_close(loss(points, points + 1, area=area.double(), visible=seen > 0), want)
    for call in (dict(), dict(area=3.0), dict(area=area, visible=[1]), dict(area=area[:2])):
        with pytest.raises(ValueError, match=r'(area|visible): expected.*got'):
            loss(points, points, **call)
    heat = losses.KeypointMSELoss(True)
    for call in (dict(target_weights=[1]), dict(mask=torch.ones(2, 7, 4, 5)), dict(mask='x')):
        with pytest.raises(ValueError, match=r'expected.*got'):
            heat(*MAPS, **call)
