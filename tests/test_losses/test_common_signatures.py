"""Arguments of all losses: their order, their names, weights of classes."""

import inspect

import pytest
import torch

import registry_losses.losses as losses
from registry_losses.registry import MODELS
from registry_losses.structures import ClassTargets

from .cases import CASES, example

REGISTERED = {
    name: cls
    for name, cls in MODELS.module_dict.items()
    if cls.__module__.startswith('registry_losses.losses.')
}


SETTINGS = [
    (name, parameter.name)
    for name, cls in REGISTERED.items()
    for parameter in inspect.signature(cls.__init__).parameters.values()
    if parameter.name != 'self'
]


R, C = 6, 4


X = torch.linspace(-2, 2, R * C).reshape(R, C)


LABELS = torch.tensor([0, 1, 2, -1, 3, 2])


def functions():
    """Functional form to its prediction and target."""
    found = {}
    for name, case in CASES.items():
        function = getattr(case.function, 'func', case.function)
        if function.__name__ in OTHERS or (name.endswith('_of_p') and name != 'dice_of_p'):
            continue
        pred, targets = example(name, LABELS, C)
        target = targets['dense'] if name in DENSE else next(iter(targets.values()))
        found.setdefault(function.__name__, (pred, target, case.function))
    return found


# Whose functions take dense values alone.
DENSE = ('dice', 'mse_of_classes')


OTHERS = {'associative_embedding', 'oks_loss', 'reduce_loss', 'seesaw_loss'}


OTHERS |= {'equalization_loss_v2', 'equalized_focal_loss'}


OTHERS |= {'small_box_weight', 'yolov1_loss', 'yolov3_loss'}


FUNCTIONS = functions()


# After the weight these have other arguments in OpenMMLab, or no peer there.
KEYWORDS_AFTER_WEIGHT = (
    'sigmoid_focal_loss', 'softmax_focal_loss', 'poly_loss', 'varifocal_loss', 'dice_loss',
)  # fmt: skip


WITHOUT_AVG_FACTOR = ('l2_loss', 'ghmc_loss', 'ghmr_loss', 'keypoint_ohkm_mse_loss')


BAD_OPTIONS = {
    'gamma': -1, 'alpha': -0.5, 'beta': -1, 'eps': 0, 'bins': 0, 'mu': 0, 'clip': 1, 'topk': 0,
    'gamma_pos': -1, 'gamma_neg': -1, 'epsilon': float('nan'), 'smooth_point': 0, 'constant': 0,
    'theta': 0, 'omega': 0, 'pos_weight': -1, 'neg_weight': -1, 'label_smoothing': 1,
    'class_weight': [-1.0], 'mode': 'cubic', 'iou_mode': 'cubic', 'bbox_format': 'cubic',
    'ignore_index': 1.5,
}  # fmt: skip


@pytest.mark.parametrize('name', FUNCTIONS)
def test_functions_take_weights_third_and_options_by_name(name):
    pred, target, function = FUNCTIONS[name]
    parameters = list(inspect.signature(function).parameters.values())
    places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][2:]
    if name in KEYWORDS_AFTER_WEIGHT:
        assert places == ['weight']
    elif name in WITHOUT_AVG_FACTOR:
        assert places == ['weight', 'reduction']
    else:
        assert places[:3] == ['weight', 'reduction', 'avg_factor']
    weight = torch.ones(pred.shape[:1])
    torch.testing.assert_close(function(pred, target, weight), function(pred, target))
    for call in ((2.0,), ('mean',)):
        with pytest.raises(ValueError, match='weight: expected a tensor'):
            function(pred, target, *call)
    for bad in (pred.long(), pred.tolist(), None):
        with pytest.raises(ValueError, match='pred: expected a floating point tensor'):
            function(bad, target)
    with pytest.raises(ValueError, match='reduction: expected'):
        function(pred, target, reduction='average')
    for parameter in parameters:
        if parameter.name in BAD_OPTIONS:
            with pytest.raises(ValueError, match=rf'{parameter.name}: expected.*got'):
                function(pred, target, **{parameter.name: BAD_OPTIONS[parameter.name]})


def test_every_function_is_called():
    names = {name for name in losses.__all__ if name.islower()}
    assert set(FUNCTIONS) | OTHERS == names


def test_options_of_the_other_functions():
    points, area = torch.rand(2, 3, 2), torch.ones(2)
    pred, own = torch.rand(R, 7), LABELS > 0
    for call in (
        lambda: losses.oks_loss(points, points, area, sigmas=[0.1, 0.1, 0.0]),
        lambda: losses.oks_loss(points, points, area, sigmas=[]),
        lambda: losses.oks_loss(points, points, area, weight=2.0),
        lambda: losses.seesaw_loss(X, LABELS, torch.ones(C), p=-1),
        lambda: losses.seesaw_loss(X, LABELS, torch.ones(C), eps=0),
        lambda: losses.seesaw_loss(X, LABELS, torch.ones(C), class_weight=[1.0, -1, 1, 1]),
        lambda: losses.seesaw_loss(X, LABELS, [1.0] * C),
        lambda: losses.yolov1_loss(pred, pred, own, lambda_coord=-1),
        lambda: losses.yolov1_loss(pred, pred, own, eps=0),
        lambda: losses.yolov3_loss(pred, pred, own, lambda_class=float('nan')),
        lambda: losses.yolov3_loss(pred, pred, own, class_weight=[1.0]),
        lambda: losses.associative_embedding(X, LABELS, LABELS, 1, form='cubic'),
        lambda: losses.associative_embedding(X, LABELS, LABELS, 1, sigma=0),
        lambda: losses.associative_embedding(X[0], LABELS, LABELS, 1),
        lambda: losses.reduce_loss(X, 'average'),
        lambda: losses.reduce_loss(X, weight=2.0),
        lambda: losses.reduce_loss(X, avg_factor=-1),
    ):
        with pytest.raises(ValueError, match=r'expected.*got'):
            call()


COMMON = ['pred', 'target', 'weight', 'avg_factor', 'reduction_override']


KEYPOINTS = ['output', 'target', 'target_weights']


# Names of forward's arguments, as far as OpenMMLab's go: mmdet 3.3, mmpose 1.3, mmyolo 0.6.
FORWARD = {
    'CrossEntropyLoss': ['cls_score', 'label', *COMMON[2:], 'ignore_index'],
    'GaussianFocalLoss': ['pred', 'target', 'pos_inds', 'pos_labels', *COMMON[2:]],
    'GHMC': ['pred', 'target', 'label_weight', 'reduction_override'],
    'GHMR': ['pred', 'target', 'label_weight', 'avg_factor', 'reduction_override'],
    'SeesawLoss': ['cls_score', 'labels', 'label_weights', *COMMON[3:]],
    'DiceLoss': ['pred', 'target', 'weight', 'reduction_override', 'avg_factor'],
    'KeypointMSELoss': [*KEYPOINTS, 'mask'],
    'KeypointOHKMMSELoss': KEYPOINTS,
    'AdaptiveWingLoss': KEYPOINTS,
    'AssociativeEmbeddingLoss': ['tags', 'keypoint_indices'],
    'YOLOV1Loss': ['pred', 'target'],
    'YOLOV3Loss': ['pred', 'target'],
}


@pytest.mark.parametrize('name', REGISTERED)
def test_arguments_of_a_call_in_order(name):
    want = FORWARD.get(name, COMMON)
    assert list(inspect.signature(REGISTERED[name].forward).parameters)[1:][: len(want)] == want


@pytest.mark.parametrize('name', REGISTERED)
def test_every_loss_of_classes_weighs_them(name):
    cls = REGISTERED[name]
    of_classes = 'classification' in (cls.kinds or ('classification',))
    assert ('class_weight' in inspect.signature(cls.__init__).parameters) == of_classes


def test_class_weights_by_hand():
    """A loss of 1 at each logit, so that sums of weights come out."""
    w = [2.0, 0.5, 3.0]
    labels = torch.tensor([0, 3, 1, -1, 2])
    sparse = ClassTargets.from_labels(labels, 3)
    zero = torch.zeros(5, 3)
    # Every logit of the four rows that count is 1 off where its target is 0, else 0 off.
    off = losses.MSELoss('sum', class_weight=w)
    for target in (labels, sparse):
        assert off(zero, target).item() == 2 + 0.5 + 3
        assert off(zero + 1, target).item() == 4 * 5.5 - (2 + 0.5 + 3)
    kept = (labels >= 0).float()[:, None]
    assert off(zero, sparse.dense(), weight=kept).item() == 5.5
    # YOLO: two priors with objects, all classes 1 off.
    pred, target = torch.zeros(3, 8), torch.ones(3, 8)
    own = torch.tensor([True, False, True])
    v1 = losses.YOLOV1Loss(class_weight=w)(pred, target, own)
    assert v1['loss_cls'].item() == 2 * 5.5
    assert v1['loss_conf'].item() == 2 * 1 + 0.5
    pred[:, 5:] = torch.exp(torch.tensor(-1.0))
    v3 = losses.YOLOV3Loss(class_weight=w)(pred, target, own)
    assert v3['loss_cls'].item() == pytest.approx(2 * 5.5)
    # Equal logits and counts: no seesaw, -log(1/3) each, weighed by the label's class.
    for target in (torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 2, -1])):
        x = torch.zeros(len(target), 3)
        out = losses.seesaw_loss(x, target, torch.ones(3), reduction='sum', class_weight=w)
        assert out.item() == pytest.approx((2 + 0.5 + 3 + 3) * 1.0986123, rel=1e-6)
    # Softmax: also the background, and a mean over rows, not over their weights.
    soft = losses.CrossEntropyLoss(class_weight=[*w, 0.25])
    x = torch.zeros(5, 4)
    want = (2 + 0.25 + 0.5 + 3) * 1.3862944 / 5
    for target in (labels, sparse):
        assert soft(x, target).item() == pytest.approx(want, rel=1e-6)
    dense = soft(x, sparse.dense(), weight=kept[:, 0])
    assert dense.item() == pytest.approx(want, rel=1e-6)
    # Sigmoid: the positive term alone, of -log(1/2) each.
    plain = losses.CrossEntropyLoss(True, class_weight=w, reduction='sum')
    want = (4 * 3 - 3 + 2 + 0.5 + 3) * 0.6931472
    for target in (labels, sparse):
        assert plain(zero, target).item() == pytest.approx(want, rel=1e-6)
    # Focal at gamma 0, alpha 1/2: half of the cross entropy, whole columns weighed.
    half = losses.FocalLoss(gamma=0.0, alpha=0.5, class_weight=w, reduction='sum')
    for target in (labels, sparse):
        assert half(zero, target).item() == pytest.approx(4 * 5.5 * 0.6931472 / 2, rel=1e-6)
