"""ATSS by hand: one anchor a cell, scaled codes, centreness in score and loss."""

import math

import pytest
from one_cell import feats, head, logit, predicted, sample, set_bias


def atss(**options):
    node = dict(
        stacked_convs=0,
        prior_generator=dict(type='AnchorGenerator', strides=[8], ratios=[1.0], scales=[1]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss'),
        loss_bbox=dict(type='GIoULoss'),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
        train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=1)),
    )
    return head('ATSSHead', **{**node, **options})


def test_codes_are_scaled_level_by_level():
    built = atss()
    set_bias(built.atss_reg, [0.125, 0, math.log(2), 0])
    built.scales[0].scale.data.fill_(2.0)
    boxes, _ = predicted(built, feats((1, 1)))
    # The anchor [-4, -4, 4, 4]: moved by a quarter of its side, four times as wide.
    assert boxes[0].tolist() == pytest.approx([2 - 16, -4, 2 + 16, 4])


def test_scores_are_class_times_centreness():
    built = atss()
    set_bias(built.atss_cls, [logit(0.6), logit(0.5)])
    set_bias(built.atss_centerness, [logit(0.5)])
    assert predicted(built, feats((1, 1)))[1][0].tolist() == pytest.approx([0.3, 0.25])


def test_centreness_of_the_anchors_centre():
    """Its centre (0, 0) is 2 and 6 pixels from left and right of the gt, 4 from the others."""
    built = atss()
    set_bias(built.atss_centerness, [1.0])
    loss = built.loss(feats((1, 1)), [sample([[-2, -4, 6, 4]], [0])])['loss_centerness']
    assert loss.item() == pytest.approx(math.log1p(math.e) - math.sqrt(2 / 6), rel=1e-5)


def test_without_centreness_scores_are_the_classes_alone():
    built = atss(loss_centerness=None)
    set_bias(built.atss_cls, [logit(0.6), logit(0.5)])
    assert predicted(built, feats((1, 1)))[1][0].tolist() == pytest.approx([0.6, 0.5])
