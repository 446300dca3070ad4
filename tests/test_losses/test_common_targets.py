"""Sparse, label and dense targets and class weights, against formulas written out plainly.

The plain formulas are those of the reference room, in float64.
"""

import math

import pytest
import torch
import torch.nn.functional as F

import registry_losses.losses as losses
from registry_losses.structures import ClassTargets
from registry_losses.testing.reference.losses import classes

from .cases import CASES, names

R, C = 14, 5
LABELS = torch.tensor([0, 5, 3, -1, 1, 5, 5, 2, -1, 4, 5, 3, 0, 5])
SEEN = torch.tensor([40.0, 3, 12, 1, 7, 0])  # rows of each class before, for the seesaw
KEPT = LABELS >= 0


def seesaw(**options):
    loss = losses.SeesawLoss(num_classes=C, **options).eval()
    loss.cum_samples.copy_(SEEN)
    return loss


# Differences have a test of their own below; settings other than the defaults change nothing.
NAMES = [
    name
    for name in names('sigmoid', 'probability', 'softmax')
    if name not in ('mse_of_classes', 'seesaw')
]
BUILD = {name: CASES[name].build for name in NAMES}
BUILD |= {'seesaw': seesaw, 'seesaw_objectness': seesaw}
SOFTMAX = dict.fromkeys(names('softmax'), 1) | {'seesaw_objectness': 2}
# A row of several classes has no one class to seesaw from.
DENSE = [name for name in BUILD if not name.startswith('seesaw')]
# One loss a class, over all rows: a dense target has its samples first.
BY_CLASS = ('dice', 'dice_of_p')
BY_ROW = [name for name in NAMES if CASES[name].by_row]


def inputs(name, seed=7):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(R, C + SOFTMAX.get(name, 0), generator=generator) * 2
    return x.sigmoid() if name.endswith('_of_p') else x


def one_hot(columns=C):
    return F.one_hot(LABELS.clamp(min=0), C + 1)[:, :columns].float()


def forms(name):
    yield 'sparse', ClassTargets.from_labels(LABELS, C)
    yield 'labels', LABELS
    if name in DENSE:
        yield 'dense', one_hot()
    if name in DENSE and name in SOFTMAX:
        yield 'dense', one_hot(C + 1)  # with the background's column, not the rest of 1


def call(name, form, target, x, **options):
    """The loss; a dense target says by weights which rows are ignored."""
    call_options = {k: options.pop(k) for k in ('reduction_override', 'avg_factor') if k in options}
    loss = BUILD[name](**options)
    if form != 'dense':
        return loss(x, target, **call_options)
    if name in BY_CLASS:
        return loss(x[KEPT].T, target[KEPT].T, **call_options)
    return loss(x, target, weight=KEPT.float(), **call_options)


def seesaw_costs(x, w, columns):
    """``(R, C + 1)``, the cost of each answer, one row and one pair of classes at a time."""
    p, q, eps = 0.8, 2.0, 1e-2
    rows = []
    for r in range(R):
        i = int(LABELS[r])
        score = x[r, :C].detach().softmax(0)
        terms = []
        for j in range(columns):
            s = 1.0
            if 0 <= i < C and j < C and j != i:
                n_i, n_j = max(float(SEEN[i]), 1), max(float(SEEN[j]), 1)
                s = (n_j / n_i) ** p if n_j < n_i else 1.0
                own = max(float(score[i]), eps)
                s *= (float(score[j]) / own) ** q if float(score[j]) > own else 1.0
            terms.append(x[r, j].exp() * s)
        total = sum(terms)
        weights = [*w.tolist(), 1.0]
        rows.append(torch.stack([-weights[j] * (terms[j] / total).log() for j in range(columns)]))
    return torch.stack(rows)


def plain(name, x, w):
    """The unreduced loss in float64: ``(R, C)``, ``(R,)`` or, one a class, ``(C,)``."""
    v, keep = one_hot().double(), KEPT.double()
    row, y = torch.arange(R), LABELS.clamp(min=0)
    if name.startswith('seesaw'):
        columns = C + 1 if name == 'seesaw' else C
        cost = seesaw_costs(x, w, columns)
        if name == 'seesaw':
            return cost[row, y] * keep
        loss = cost[row, y.clamp(max=C - 1)] * (y < C)
        objectness = -x[:, C:].log_softmax(1)[row, (y == C).long()]
        return (loss + objectness) * keep
    formula = CASES[name].plain or classes.dice
    if name in SOFTMAX:
        return formula(x, y) * w[y] * keep
    if name == 'bce':
        return formula(x, v, w) * keep[:, None]
    if name in BY_CLASS:
        p = x.sigmoid() if name == 'dice' else x
        return w * formula(p[KEPT].T, v[KEPT].T)
    if name.endswith('_of_p'):
        x = x.logit()
    # One column at a time, where the formula sums over them.
    parts = [slice(c, c + 1) for c in range(C)] if name in BY_ROW else [slice(None)]
    loss = torch.cat(
        [formula(x[KEPT][:, c], v[KEPT][:, c]).reshape(-1, *v[:1, c].shape[1:]) for c in parts],
        dim=1,
    )
    loss = torch.zeros(R, C, dtype=x.dtype).index_put((KEPT.nonzero()[:, 0],), loss) * w
    return loss.sum(1) if name in BY_ROW else loss


def assert_same(got, want):
    scale = max(float(want.abs().max()), 1e-6)
    torch.testing.assert_close(got.double(), want.double(), rtol=1e-5, atol=1e-6 * scale)


def weights(name):
    w = [2.0, 0.5, 1.5, 0.25, 3.0]
    return [*w, 0.75] if name in SOFTMAX and not name.startswith('seesaw') else w


def expected(name, class_weight):
    x = inputs(name).double().requires_grad_()
    w = torch.tensor(class_weight or [1.0] * (C + 1), dtype=torch.float64)
    w = w if SOFTMAX.get(name) and not name.startswith('seesaw') else w[:C]
    loss = plain(name, x, w)
    return loss.detach(), torch.autograd.grad(loss.sum(), x)[0]


@pytest.mark.parametrize('weighted', [False, True], ids=['plain', 'class_weight'])
@pytest.mark.parametrize('name', BUILD)
def test_every_form_equals_the_plain_formula(name, weighted):
    """Values and gradients, by 'none' and by 'sum', whose code differs."""
    class_weight = weights(name) if weighted else None
    want, want_grad = expected(name, class_weight)
    seen = []
    for form, target in forms(name):
        if name in BY_CLASS and form == 'dense' and weighted:
            continue  # refused: a sample of a dense target is no class
        seen.append(form)
        options = {'class_weight': class_weight} if weighted else {}
        for reduction in ('none', 'sum'):
            x = inputs(name).requires_grad_()
            out = call(name, form, target, x, reduction_override=reduction, **options)
            assert_same(out.detach(), want if reduction == 'none' else want.sum())
            assert_same(torch.autograd.grad(out.sum(), x)[0], want_grad)
    assert seen[:2] == ['sparse', 'labels']


@pytest.mark.parametrize('name', BUILD)
def test_means_are_alike_in_every_form(name):
    want, _ = expected(name, None)
    count = {'ghmc': int(KEPT.sum()) * C}.get(name, want.numel())
    for form, target in forms(name):
        mean = call(name, form, target, inputs(name))
        averaged = call(name, form, target, inputs(name), avg_factor=4.0)
        if name == 'seesaw_objectness':
            # Its class part is a mean over the rows with a class alone.
            parts = BUILD[name](return_dict=True)(inputs(name), target, reduction_override='none')
            objects = int(((LABELS >= 0) & (LABELS < C)).sum())
            of_class, objectness = parts['loss_cls_classes'], parts['loss_cls_objectness']
            assert_same(mean, of_class.sum() / objects + objectness.sum() / R)
        else:
            assert_same(mean, want.sum() / count)
        # GHM counts by itself; dice of sparse targets is a share already.
        own = name == 'ghmc' or (name in BY_CLASS and form != 'dense')
        assert_same(averaged, mean if own else want.sum() / 4)


@pytest.mark.parametrize('name', BUILD)
def test_ignored_rows_take_no_part_in_any_form(name):
    for form, target in forms(name):
        x = inputs(name).requires_grad_()
        out = call(name, form, target, x, reduction_override='sum')
        (grad,) = torch.autograd.grad(out, x)
        assert not grad[~KEPT].any() and grad[KEPT].any()
        other = x.detach().clone()
        other[~KEPT] = 1 - other[~KEPT] if name.endswith('_of_p') else 3 * other[~KEPT] + 1
        assert_same(call(name, form, target, other, reduction_override='sum'), out.detach())


@pytest.mark.parametrize('name', BUILD)
def test_a_class_of_weight_zero_has_no_loss(name):
    w = weights(name)
    w[3] = 0.0
    zero = LABELS == 3
    for form, target in forms(name):
        if name in BY_CLASS and form == 'dense':
            continue
        x = inputs(name).requires_grad_()
        loss = call(name, form, target, x, reduction_override='none', class_weight=w)
        (grad,) = torch.autograd.grad(loss.sum(), x)
        if name == 'seesaw_objectness':
            grad = grad[:, :C]  # objectness has no class
            assert not grad[zero].any() and grad[~zero & KEPT].any()
        elif name in SOFTMAX:
            assert not loss[zero].any() and not grad[zero].any() and loss[~zero & KEPT].all()
        elif name == 'bce':
            # It weighs the positive term alone.
            negative = ~zero & KEPT
            assert not loss[zero, 3].any() and not grad[zero, 3].any()
            assert (loss[negative, 3] > 0).all()
        else:
            assert not grad[:, 3].any() and grad[:, :3].any()
            if loss.shape[-1] == C:
                assert not loss[..., 3].any()


@pytest.mark.parametrize('name', [name for name in BUILD if name != 'bce'])
def test_one_weight_for_all_classes_scales_the_loss(name):
    """All but the binary cross entropy, which weighs the positive term alone."""
    number = len(weights(name))
    for form, target in forms(name):
        if name in BY_CLASS and form == 'dense':
            continue
        x = inputs(name)
        once = call(name, form, target, x, reduction_override='none')
        thrice = call(name, form, target, x, reduction_override='none', class_weight=[3.0] * number)
        if name == 'seesaw':
            once = torch.where(LABELS < C, 3 * once, once)  # background has no entry
        elif name == 'seesaw_objectness':
            parts = BUILD[name](return_dict=True)(x, target, reduction_override='none')
            once = 3 * parts['loss_cls_classes'] + parts['loss_cls_objectness']
        else:
            once = 3 * once
        assert_same(thrice, once)


@pytest.mark.parametrize('name', ['seesaw', 'seesaw_objectness'])
def test_seesaw_refuses_dense_values(name):
    with pytest.raises(ValueError, match=r'expected ClassTargets, int labels \(14,\), got torch'):
        BUILD[name]()(inputs(name), torch.rand(R, C + 1))


def test_a_softmax_of_soft_rows_by_hand():
    """A row may be of several classes; of (R, C) values the background has the rest."""
    x = torch.tensor([[1.0, 0.0, -1.0]])
    log_p = x.log_softmax(1)[0].tolist()
    want = -(0.5 * log_p[0] + 0.2 * log_p[1] + 0.3 * log_p[2])
    loss = losses.CrossEntropyLoss()
    for mass in ([[0.5, 0.2, 0.3]], [[0.5, 0.2]]):
        assert loss(x, torch.tensor(mass)).item() == pytest.approx(want, rel=1e-6)
    focal = losses.FocalLoss(False, gamma=2.0, alpha=[0.1, 0.2, 0.7])
    cost = [-a * (1 - math.exp(lp)) ** 2 * lp for a, lp in zip([0.1, 0.2, 0.7], log_p)]
    want = 0.5 * cost[0] + 0.2 * cost[1] + 0.3 * cost[2]
    assert focal(x, torch.tensor([[0.5, 0.2]])).item() == pytest.approx(want, rel=1e-5)
    smooth = losses.CrossEntropyLoss(label_smoothing=0.1, class_weight=[2.0, 0.5, 1.5])
    given = torch.tensor([[0.5, 0.2, 0.3], [0.0, 1.0, 0.0]])
    x = torch.tensor([[1.0, 0.0, -1.0], [0.3, 2.0, 0.1]])
    weight = torch.tensor([2.0, 0.5, 1.5])
    want = F.cross_entropy(x, given, weight, label_smoothing=0.1)  # over rows, as ours
    torch.testing.assert_close(smooth(x, given), want)


def test_qualities_as_pair_and_dense_agree_to_the_bit():
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        x, score = torch.rand(4, 5, generator=generator), torch.rand(4, generator=generator)
        label = torch.tensor([0, 1, 2, 0])
        dense = F.one_hot(label, 5) * score[:, None]
        for activated in (False, True):
            loss = losses.QualityFocalLoss(activated=activated)
            assert loss(x, (label, score)) == loss(x, dense)


@pytest.mark.parametrize('options', [{}, dict(weight=torch.linspace(0.5, 2, R))])
@pytest.mark.parametrize(
    'build',
    [
        losses.MSELoss,
        losses.KeypointMSELoss,
        losses.AdaptiveWingLoss,
        lambda: losses.KeypointOHKMMSELoss(topk=2),
    ],
)
def test_losses_of_differences_take_sparse_targets(build, options):
    results = []
    for target in (ClassTargets.from_labels(LABELS, C), one_hot()):
        x = inputs('focal_of_p').requires_grad_()
        weight = options.get('weight')
        if isinstance(target, torch.Tensor):
            weight = KEPT.float() if weight is None else weight * KEPT
        out = build()(x, target, weight=weight)
        results.append((out.detach(), *torch.autograd.grad(out, x)))
    for sparse, dense in zip(*results):
        assert_same(sparse, dense)
    assert math.isfinite(results[0][0]) and results[0][0] > 0
