"""What holds for every registered loss: documented, sourced, tested, and there as a function."""

import re
import sys
from pathlib import Path

import pytest
import torch

import registry_losses.losses as losses
from registry_losses.registry import MODELS
from registry_losses.structures import ClassTargets

HERE = Path(__file__)
TABLE = HERE.parents[2] / 'docs' / 'losses.md'
REGISTERED = {
    name: cls
    for name, cls in MODELS.module_dict.items()
    if cls.__module__.startswith('registry_losses.losses.')
}
# Plain differences, and a choice among losses that have a source each.
WITHOUT_PAPER = {'L1Loss', 'MSELoss', 'KeypointMSELoss', 'YOLOIoULoss'}
# An author by initial and name, then the year in brackets.
SOURCE = re.compile(r'[A-Z]\.(?:-[A-Z]\.)? [A-Z][\w-]+[^`]*?\((?:19|20)\d\d\)', re.DOTALL)


def described(name):
    """The docstring of a class, with those of the functions it names."""
    cls = REGISTERED[name]
    home = sys.modules[cls.__module__]
    named = re.findall(r':func:`(\w+)`', cls.__doc__)
    return '\n'.join([cls.__doc__, *(getattr(home, f).__doc__ for f in named)])


def rows():
    """Name to (kind, source) of the table of docs/losses.md."""
    table = {}
    for line in TABLE.read_text(encoding='utf-8').splitlines():
        cells = [cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
        if len(cells) == 5:
            for name in cells[0].split(', '):
                table[name] = (cells[1], cells[4])
    return table


def test_the_table_lists_the_registered_losses_and_no_others():
    listed = {name for name in rows() if name.isidentifier() and name != 'name'}
    assert len(REGISTERED) >= 34
    assert listed == set(REGISTERED)


@pytest.mark.parametrize('name', REGISTERED)
def test_the_table_tells_the_kind(name):
    kind = getattr(REGISTERED[name], 'kinds', ('whole system',))[0]
    assert rows()[name][0] == kind


@pytest.mark.parametrize('name', REGISTERED)
def test_some_other_file_tests_it(name):
    others = [path for path in HERE.parent.glob('test_*.py') if path != HERE]
    named = [path.name for path in others if re.search(rf'\b{name}\b', path.read_text('utf-8'))]
    assert named


@pytest.mark.parametrize('name', REGISTERED)
def test_its_docstring_states_its_source(name):
    found = SOURCE.search(described(name))
    assert bool(found) != (name in WITHOUT_PAPER)


@pytest.mark.parametrize('name', sorted(set(REGISTERED) - WITHOUT_PAPER))
def test_table_and_docstring_state_one_source(name):
    text, author = described(name), None
    cited = []
    for part in re.split(r'[;,] ', rows()[name][1]):
        *words, year = part.split()
        author = words[0] if words else author
        cited.append(re.search(rf'{author}\b[^`]*?\({year}\)', text, re.DOTALL))
    assert any(cited)


R, C = 6, 4
LABELS = torch.tensor([0, 4, 2, -1, 3, 1])


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def boxes(seed):
    low = random(R, 2, seed=seed) * 10
    return torch.cat((low, low + 2 + random(R, 2, seed=seed + 1) * 8), dim=1)


def classes(columns=C):
    return random(R, columns) * 4 - 2, LABELS


CW = dict(class_weight=[2.0, 0.5, 1.0, 3.0])
CW_BACKGROUND = dict(class_weight=[2.0, 0.5, 1.0, 3.0, 0.25])
SMOOTH = dict(label_smoothing=0.1, ignore_index=2)
SOFT = dict(gamma=1.5, **CW_BACKGROUND)
PEAKS = (classes()[0], random(R, C, seed=2).round(decimals=1))
BINS = (random(R, C + 1), random(R, seed=1) * C)
# Name, options of the class, function, its options if others, prediction and target.
PAIRS = [
    ('CrossEntropyLoss', SMOOTH, 'cross_entropy', None, classes(5)),
    ('CrossEntropyLoss', dict(use_sigmoid=True, **CW), 'cross_entropy', None, classes()),
    ('FocalLoss', dict(gamma=1.5, alpha=0.4, **CW), 'sigmoid_focal_loss', None, classes()),
    ('FocalLoss', dict(use_sigmoid=False, **SOFT), 'softmax_focal_loss', SOFT, classes(5)),
    ('PolyLoss', dict(epsilon=2.0, gamma=1.0, **CW), 'poly_loss', None, classes()),
    ('PolyLoss', dict(use_sigmoid=False, epsilon=2.0), 'poly_loss', None, classes(5)),
    ('AsymmetricLoss', dict(gamma_pos=1.0, clip=0.1, **CW), 'asymmetric_loss', None, classes()),
    ('QualityFocalLoss', dict(beta=1.5, **CW), 'quality_focal_loss', None, classes()),
    ('VarifocalLoss', dict(alpha=0.5, **CW), 'varifocal_loss', None, classes()),
    ('GaussianFocalLoss', dict(use_sigmoid=True, gamma=3.0), 'gaussian_focal_loss', None, PEAKS),
    ('DistributionFocalLoss', {}, 'distribution_focal_loss', None, BINS),
    *[(name, options, function, None, (random(R, 4), random(R, 4, seed=1)))
      for name, options, function in (
          ('L1Loss', {}, 'l1_loss'),
          ('MSELoss', {}, 'mse_loss'),
          ('SmoothL1Loss', dict(beta=0.2), 'smooth_l1_loss'),
          ('BalancedL1Loss', dict(alpha=0.4, beta=0.3), 'balanced_l1_loss'),
          ('PAFLoss', {}, 'paf_loss'),
          ('KeypointMSELoss', {}, 'mse_loss'),
          ('AdaptiveWingLoss', dict(theta=0.3), 'adaptive_wing_loss'),
      )],
    *[(name, options, function, None, (boxes(0), boxes(5)))
      for name, options, function in (
          ('IoULoss', dict(mode='square'), 'iou_loss'),
          ('GIoULoss', {}, 'giou_loss'),
          ('DIoULoss', {}, 'diou_loss'),
          ('CIoULoss', {}, 'ciou_loss'),
          ('EIoULoss', dict(smooth_point=0.3), 'eiou_loss'),
          ('EfficientIoULoss', {}, 'efficient_iou_loss'),
          ('SIoULoss', dict(neg_gamma=True), 'siou_loss'),
          ('NWDLoss', dict(constant=8.0, mode='log'), 'nwd_loss'),
          ('BoundedIoULoss', dict(beta=0.3), 'bounded_iou_loss'),
          ('YOLOIoULoss', dict(iou_mode='siou', bbox_format='xyxy'), 'yolo_iou_loss'),
      )],
]  # fmt: skip


@pytest.mark.parametrize('reduction', ['none', 'sum', 'mean', 'avg_factor'])
@pytest.mark.parametrize('pair', PAIRS, ids=lambda pair: f'{pair[0]}-{"-".join(pair[1])}')
def test_the_function_equals_the_class(pair, reduction):
    name, options, function, own, (pred, target) = pair
    own = options if own is None else own
    weight = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.0, 3.0])
    call = dict(avg_factor=3.0) if reduction == 'avg_factor' else {}
    reduction = 'mean' if call else reduction
    results = []
    for as_class in (True, False):
        x = pred.clone().requires_grad_()
        if as_class:
            loss = getattr(losses, name)(**options)
            out = loss(x, target, weight=weight, reduction_override=reduction, **call)
        else:
            function_of = getattr(losses, function)
            out = function_of(x, target, weight=weight, reduction=reduction, **call, **own)
        results.append((out, torch.autograd.grad(out.sum(), x)[0]))
    assert results[0][0].abs().sum() > 0
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-7)


def ghm(name, function, pred, target, **options):
    for reduction in ('none', 'sum', 'mean'):
        loss = getattr(losses, name)(reduction=reduction, **options)
        yield loss(pred, target), function(pred, target, reduction=reduction, **options)


def seesaw():
    x, labels = random(R, C + 2) * 4 - 2, torch.tensor([0, 3, 2, 1, 3, 1])
    loss = losses.SeesawLoss(num_classes=C, return_dict=True, p=0.6, q=1.5).eval()
    loss.cum_samples.copy_(torch.tensor([5.0, 1, 30, 2, 9]))
    for reduction in ('none', 'sum', 'mean'):
        out = loss(x, labels, reduction_override=reduction)['loss_cls_classes']
        counts = loss.cum_samples[:C]
        yield out, losses.seesaw_loss(x[:, :C], labels, counts, p=0.6, q=1.5, reduction=reduction)


def dice():
    pred, target = random(R, C), random(R, C, seed=1)
    loss = losses.DiceLoss(activate=False, naive_dice=True, eps=1e-2)
    for weight in (None, random(R, seed=2)):
        yield (
            loss(pred, target, weight),
            losses.dice_loss(pred, target, naive_dice=True, eps=1e-2, weight=weight),
        )
    sparse = ClassTargets.from_labels(LABELS, C)
    kept = LABELS >= 0
    by_class = losses.dice_loss(pred[kept].T, sparse.dense()[kept].T)
    yield losses.DiceLoss(activate=False)(pred, sparse), by_class


def ohkm():
    pred, target = random(2, 5, 3, 3), random(2, 5, 3, 3, seed=1)
    weight = random(2, 5, seed=2)
    for reduction in ('none', 'sum', 'mean'):
        loss = losses.KeypointOHKMMSELoss(use_target_weight=True, topk=3, reduction=reduction)
        function = losses.keypoint_ohkm_mse_loss
        yield (
            loss(pred, target, weight),
            function(pred, target, topk=3, weight=weight[..., None, None], reduction=reduction),
        )


def oks():
    pred, target = random(R, 3, 2) * 9, random(R, 3, 2, seed=1) * 9
    area, seen = random(R, seed=2) * 200 + 50, random(R, 3, seed=3).round()
    for sigmas in ((0.05, 0.1, 0.2), (0.1,)):
        loss = losses.OKSLoss(sigmas=sigmas)
        yield (
            loss(pred, target, area=area, visible=seen),
            losses.oks_loss(pred, target, area, sigmas=sigmas, visible=seen),
        )


def embedding():
    tags = random(2, 3, 2, 2) * 3
    index = [torch.tensor([[[0, 1], [1, 1], [2, 0]], [[3, 1], [0, 1], [1, 1]]])] * 2
    loss = losses.AssociativeEmbeddingLoss(loss_weight=2.0, push_loss_factor=0.3, form='paper')
    at = torch.stack([tags[b, [0, 1, 2], :, :].flatten(1) for b in (0, 1)])  # (B, K, H * W)
    joints = torch.cat(
        [at[b, torch.arange(3), person[:, 0]] for b in (0, 1) for person in index[b]]
    )
    person = torch.arange(4).repeat_interleave(3)
    pull, push = losses.associative_embedding(
        joints[:, None],
        person,
        torch.tensor([0, 0, 1, 1]),
        2,
        joint_weight=torch.cat(index)[..., 1].flatten(),
        form='paper',
    )
    yield loss(tags, index)[0], 2 * pull.sum()
    yield loss(tags, index)[1], 2 * 0.3 * push.sum()


def yolo(name, function, **options):
    pred, target = random(R, 7), random(R, 7, seed=1)
    own = LABELS % 2 == 0
    got, want = (
        getattr(losses, name)(**options)(pred, target, own),
        function(pred, target, own, **options),
    )
    assert got.keys() == want.keys()
    for key in got:
        yield got[key], want[key]


OTHERS = {
    'GHMC': lambda: ghm('GHMC', losses.ghmc_loss, *classes(), bins=5, **CW),
    'GHMR': lambda: ghm(
        'GHMR', losses.ghmr_loss, random(R, 4), random(R, 4, seed=1), mu=0.1, bins=5
    ),
    'SeesawLoss': seesaw,
    'DiceLoss': dice,
    'KeypointOHKMMSELoss': ohkm,
    'OKSLoss': oks,
    'AssociativeEmbeddingLoss': embedding,
    'YOLOV1Loss': lambda: yolo(
        'YOLOV1Loss', losses.yolov1_loss, lambda_coord=2.0, lambda_noobj=0.1
    ),
    'YOLOV3Loss': lambda: yolo(
        'YOLOV3Loss', losses.yolov3_loss, lambda_class=2.0, lambda_noobj=0.1
    ),
}


@pytest.mark.parametrize('name', OTHERS)
def test_the_function_equals_the_class_of_its_own_form(name):
    results = list(OTHERS[name]())
    assert len(results) >= 2
    for got, want in results:
        assert want.abs().sum() > 0
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)


def test_every_registered_loss_is_compared_with_its_function():
    assert {pair[0] for pair in PAIRS} | set(OTHERS) == set(REGISTERED)
