"""YOLOv1 by hand: one class vector a cell, the responsible of its boxes, fixed sizes."""

import pytest
import torch
from one_cell import feats, head, predicted, sample, set_bias

from registry_losses.errors import ConfigError, ShapeError

# Of a cell of 8 pixels: the gt's own code, a degenerate one, confidences, classes.
GT = [[2.0, 2, 6, 6]]
EXACT, CLASSES = [0.5, 0.5, 0.5**0.5, 0.5**0.5], [0.3, 0.9]


def yolov1(**options):
    node = dict(
        prior_generator=dict(
            type='MlvlPointGenerator', strides=[8], num_base=2, shared_classes=True
        ),
        bbox_coder=dict(type='YOLOV1BBoxCoder', input_size=(8, 8)),
        loss_cls=dict(type='MSELoss'),
        loss_conf=dict(type='MSELoss'),
        loss_bbox=dict(type='MSELoss', loss_weight=5.0),
        train_cfg=dict(assigner=dict(type='YOLOV1Assigner')),
    )
    return head('YOLOV1Head', **{**node, **options})


def test_the_boxes_of_a_cell_share_its_classes():
    built = yolov1()
    set_bias(built.conv_pred, [*EXACT, *EXACT, 0.5, 0.25, *CLASSES])
    boxes, scores = predicted(built, feats((1, 1)))
    assert torch.allclose(boxes, torch.tensor(GT * 2), atol=1e-5)
    assert scores.flatten().tolist() == pytest.approx([0.15, 0.45, 0.075, 0.225])


def test_losses_of_equation_3():
    built = yolov1(lambda_noobj=0.5)
    # The first box is off by 1/4 in the square root of the width; the second fits exactly.
    off = [0.5, 0.5, 0.5**0.5 - 0.25, 0.5**0.5]
    set_bias(built.conv_pred, [*off, *EXACT, 0.6, 0.2, *CLASSES])
    losses = built.loss(feats((1, 1)), [sample(GT, [1])])
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)  # of the responsible alone
    assert losses['loss_conf'].item() == pytest.approx((1 - 0.2) ** 2 + 0.5 * 0.6**2, rel=1e-5)
    assert losses['loss_cls'].item() == pytest.approx(0.3**2 + (1 - 0.9) ** 2, rel=1e-5)


def test_fully_connected_layers_fix_the_size():
    built = yolov1(fc_channels=4, grid_size=2)
    assert built(feats((2, 2)))[0][0].shape == (1, 2 * 5 + 2, 2, 2)
    with pytest.raises(ShapeError, match='need a 2 x 2 map, got'):
        built(feats((3, 2)))
    with pytest.raises(ConfigError, match='grid_size: needed with fc_channels'):
        yolov1(fc_channels=4)


def test_classes_must_be_shared():
    with pytest.raises(ConfigError, match='share one class vector'):
        yolov1(prior_generator=dict(type='MlvlPointGenerator', strides=[8], num_base=2))
