"""Wrong shapes, dtypes and modes: the message states what was expected and what came."""

import pytest
import torch

import registry_losses.losses as losses
from registry_losses.errors import ConfigError, ShapeError
from registry_losses.structures import ClassTargets

from .cases import CASES, names

R, C = 6, 4
X, X1 = torch.zeros(R, C), torch.zeros(R, C + 1)
LABELS = torch.tensor([0, 1, 4, -1, 3, 2])
SPARSE = ClassTargets.from_labels(LABELS, C)
BOXES = torch.tensor([[0.0, 0, 4, 4]]).repeat(3, 1)
MAPS = torch.zeros(2, 3, 4, 4)
SIGMOID = [name for name in names('sigmoid') if name != 'mse_of_classes']
SOFTMAX = names('softmax')


def builder(name):
    return lambda **options: CASES[name].build(C, **options)


def refuses(call, *parts, error=ShapeError):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for part in ('expected', 'got', *parts):
        assert part in message, message
    assert message.index('expected') < message.index('got')


@pytest.mark.parametrize('name', SIGMOID)
def test_sigmoid_losses(name):
    build = builder(name)
    loss = build()
    refuses(lambda: loss(X.long(), SPARSE), 'floating point', 'torch.int64')
    refuses(lambda: loss(X, LABELS.float()), '(6, 4)', '(6,)')
    refuses(lambda: loss(X, LABELS[:3]), '(6, 4)', '(3,)')
    refuses(lambda: loss(X, torch.zeros(R, C + 3)), '(6, 4)', '(6, 7)')
    refuses(lambda: loss(X1, SPARSE), '6, 4', '6, 5')
    refuses(lambda: loss(X, None), 'NoneType')
    for target in (SPARSE, LABELS, X):
        refuses(lambda t=target: loss(X, t, weight=torch.ones(R + 1)), 'weight', '(7,)')
    numbers = 'got 5' if name != 'dice' else '(6, 4)'
    for target in (SPARSE, LABELS, X):
        part = 'got 5' if target is not X else numbers
        refuses(lambda t=target: build(class_weight=[1.0] * 5)(X, t), 'class_weight', part)
    for target in (SPARSE, LABELS):
        refuses(lambda t=target: build(class_weight=[1.0])(X, t), 'class_weight', '4', 'got 1')


@pytest.mark.parametrize('name', SOFTMAX)
def test_softmax_losses(name):
    build = builder(name)
    loss = build()
    refuses(lambda: loss(X1.long(), LABELS), 'floating point', 'torch.int64')
    refuses(lambda: loss(X1, LABELS.float()), 'int labels (6,)', 'torch.float32 (6,)')
    refuses(lambda: loss(X1, LABELS[:3]), '(6,)', '(3,)')
    refuses(lambda: loss(X1, torch.zeros(R, C + 3)), 'ClassTargets', '(6, 7)')
    refuses(lambda: loss(torch.zeros(R, C + 5), SPARSE), '(6, ', '(6, 9)')
    refuses(lambda: loss(X1, None), 'NoneType')
    refuses(lambda: loss(X1, SPARSE, weight=torch.ones(R + 1)), '(6,)', '(7,)')
    refuses(lambda: build(class_weight=[1.0] * 2)(X1, SPARSE), 'class_weight', 'got 2')
    refuses(lambda: build(class_weight=[1.0])(X1, LABELS), 'class_weight', 'got 1')


def test_settings_of_classes():
    refuses(lambda: losses.FocalLoss(alpha=[0.2] * 3)(X, SPARSE), 'alpha', '4', 'got 3')
    refuses(
        lambda: losses.FocalLoss(False, alpha=[0.2] * 4)(X1, LABELS), 'alpha', '5 numbers', 'got 4'
    )
    refuses(lambda: losses.FocalLoss(class_weight=[[1.0]]), 'flat', '(1, 1)', error=ConfigError)
    maps = losses.GaussianFocalLoss(class_weight=[1.0] * 4)
    refuses(lambda: maps(MAPS, MAPS), 'class_weight', '3 numbers', 'got 4')
    at = dict(pos_inds=LABELS[:1], pos_labels=LABELS[:1])
    refuses(lambda: maps(X1, X1, **at), 'class_weight', '5 numbers', 'got 4')
    assert losses.GaussianFocalLoss(class_weight=[1.0] * 3)(MAPS, MAPS) == 0


@pytest.mark.parametrize('sizes', [(R + 1, R), (R, R + 1)])
def test_quality_focal_pairs(sizes):
    """Either part alone may be the wrong one."""
    pair = torch.zeros(sizes[0], dtype=torch.long), torch.ones(sizes[1])
    refuses(lambda: losses.QualityFocalLoss()(X, pair), '(6,)', '(7,)')


@pytest.mark.parametrize('name', names('box', 'difference') + ['adaptive_wing', 'paf', 'dice'])
def test_functions_broadcast_no_target(name):
    function = CASES[name].function
    if name == 'oks_of_boxes':
        pytest.skip('its function takes keypoints')
    refuses(lambda: function(BOXES, BOXES[:2]), '(3, 4)', '(2, 4)')
    refuses(lambda: function(BOXES, BOXES[0]), '(3, 4)', '(4,)')
    refuses(lambda: function(BOXES, BOXES, weight=torch.ones(5)), 'weight', '(5,)')


def test_box_losses():
    five = torch.zeros(3, 5)
    for loss in (losses.IoULoss(), losses.SIoULoss(), losses.NWDLoss()):
        refuses(lambda f=loss: f(five, five), '4', '(3, 5)')
    for loss in (losses.L1Loss(), losses.GIoULoss(), losses.GHMR()):
        refuses(lambda f=loss: f(BOXES.long(), BOXES), 'floating point', 'torch.int64')
        refuses(lambda f=loss: f(BOXES, BOXES[:2]), '(3, 4)', '(2, 4)')
        refuses(lambda f=loss: f(BOXES, BOXES, weight=torch.ones(2)), 'weight', '(2,)')
    refuses(lambda: losses.GIoULoss()(BOXES, SPARSE), '(3, 4)', '(6, 4)')
    refuses(lambda: losses.GHMR()(BOXES, SPARSE), 'a tensor', 'ClassTargets')
    for function, what in (
        (losses.iou_loss, 'square'),
        (losses.yolo_iou_loss, 'giou'),
    ):
        mode = {'iou_mode' if function is losses.yolo_iou_loss else 'mode': 'cubic'}
        refuses(lambda f=function, m=mode: f(BOXES, BOXES, **m), what, "'cubic'", error=ConfigError)
    bins = losses.DistributionFocalLoss()
    refuses(lambda: bins(torch.zeros(3, 5), torch.zeros(3, 5)), '(R,)', '(3, 5)')
    refuses(lambda: bins(torch.zeros(3, 1), torch.zeros(3)), 'n + 1', '(3, 1)')


def test_sparse_targets_of_differences():
    for loss in (losses.MSELoss(), losses.KeypointMSELoss(), losses.AdaptiveWingLoss()):
        refuses(lambda f=loss: f(X1, SPARSE), '(6, 5)', '(6, 4)')
        refuses(lambda f=loss: f(X, SPARSE, weight=torch.ones(R + 1)), '(6, 4)', '(7,)')


def test_pose_losses():
    refuses(lambda: losses.PAFLoss()(MAPS, MAPS), 'even', '(2, 3, 4, 4)')
    refuses(lambda: losses.KeypointMSELoss()(MAPS, MAPS[:1]), '(2, 3, 4, 4)', '(1, 3, 4, 4)')
    wrong = torch.ones(2, 5)
    refuses(lambda: losses.KeypointMSELoss(True)(MAPS, MAPS, wrong), 'target_weights', '(2, 5')
    refuses(lambda: losses.KeypointOHKMMSELoss(topk=8)(MAPS, MAPS), '8', '(2, 3, 4, 4)')
    points = torch.zeros(2, 17, 2)
    refuses(lambda: losses.oks_loss(points, points, torch.ones(3)), 'area', '(2,)', '(3,)')
    refuses(
        lambda: losses.oks_loss(points, points, torch.ones(2), visible=torch.ones(2, 5)),
        'visible', '(2, 17)', '(2, 5)',
    )  # fmt: skip
    refuses(lambda: losses.oks_loss(points[:, :5], points[:, :5], torch.ones(2)), '17', '(2, 5, 2)')
    embedding = losses.AssociativeEmbeddingLoss()
    refuses(lambda: embedding(MAPS, [LABELS]), 'B tensors', '1')
    refuses(lambda: embedding(MAPS.long(), [LABELS]), 'floating point', 'torch.int64')


def test_whole_systems():
    pred, own = torch.rand(3, 7), torch.ones(3, dtype=torch.bool)
    two = own[:2]
    for function, flat_index in (
        (losses.yolov1_loss, 'cell_has_object'),
        (losses.yolov3_loss, 'ignored'),
    ):
        refuses(
            lambda f=function, s=flat_index: f(pred, pred, own, **{s: two}),
            flat_index,
            '(3,)',
            '(2,)',
        )
        refuses(lambda f=function: f(pred[:, :4], pred[:, :4], own), '5 + C', '(3, 4)')
        refuses(lambda f=function: f(pred, pred[:2], own), '(3, 7)', '(2, 7)')


def test_seesaw_counts():
    labels, counts = LABELS.clamp(0, 3), torch.ones(C)
    refuses(lambda: losses.seesaw_loss(X, labels, torch.ones(7)), '(C,)', '(7,)')
    refuses(lambda: losses.seesaw_loss(X, labels[:2], counts), '(6,)', '(2,)')
    wrong = dict(class_weight=[1.0] * 3)
    refuses(lambda: losses.seesaw_loss(X, labels, counts, **wrong), '4 numbers', 'got 3')


@pytest.mark.parametrize('name', CASES)
def test_modes(name):
    refuses(lambda: builder(name)(reduction='average'), 'mean', "'average'", error=ConfigError)
