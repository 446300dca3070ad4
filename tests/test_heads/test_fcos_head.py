"""FCOS by hand: distances by exp or in strides, centreness in score and loss."""

import math

import pytest
from one_cell import feats, head, logit, predicted, sample, set_bias

from registry_losses.errors import ConfigError


def fcos(**options):
    node = dict(
        stacked_convs=0,
        strides=[8],
        prior_generator=dict(type='MlvlPointGenerator', strides=[8]),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='FocalLoss'),
        loss_bbox=dict(type='IoULoss'),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
        train_cfg=dict(assigner=dict(type='FCOSAssigner', regress_ranges=((-1, 1e8),))),
    )
    return head('FCOSHead', **{**node, **options})


def test_distances_by_exp_of_the_scaled_map():
    built = fcos()
    set_bias(built.conv_reg, [0, math.log(2), math.log(3), 0.5 * math.log(2)])
    built.scales[0].scale.data.fill_(2.0)  # squares each distance
    boxes, _ = predicted(built, feats((1, 1)))
    assert boxes[0].tolist() == pytest.approx([4 - 1, 4 - 4, 4 + 9, 4 + 2])


def test_distances_in_strides_are_never_negative():
    coder = dict(type='DistancePointBBoxCoder', normalize_by_stride=True)
    built = fcos(norm_on_bbox=True, bbox_coder=coder)
    set_bias(built.conv_reg, [0.25, -3.0, 0.5, 1.0])
    boxes, _ = predicted(built, feats((1, 1)))
    assert boxes[0].tolist() == pytest.approx([4 - 2, 4 - 0, 4 + 4, 4 + 8])


def test_scores_are_class_times_centreness():
    built = fcos()
    set_bias(built.conv_cls, [logit(0.8), logit(0.5)])
    set_bias(built.conv_centerness, [logit(0.25)])
    assert predicted(built, feats((1, 1)))[1][0].tolist() == pytest.approx([0.2, 0.125])


def test_centreness_of_a_point():
    """Equation 3: the point (4, 4) is 2 and 6 pixels from left and right, 4 from the others."""
    built = fcos()
    set_bias(built.conv_centerness, [1.0])
    loss = built.loss(feats((1, 1)), [sample([[2, 0, 10, 8]], [0])])['loss_centerness']
    # BCE of a logit x and target t: softplus(x) - t x.
    assert loss.item() == pytest.approx(math.log1p(math.e) - math.sqrt(2 / 6), rel=1e-5)


def test_without_centreness_scores_are_the_classes_alone():
    built = fcos(loss_centerness=None)
    assert len(built(feats((1, 1)))) == 2 and not hasattr(built, 'conv_centerness')
    set_bias(built.conv_cls, [logit(0.8), logit(0.5)])
    assert predicted(built, feats((1, 1)))[1][0].tolist() == pytest.approx([0.8, 0.5])


def test_a_scale_for_every_level():
    with pytest.raises(ConfigError, match=r'FCOSHead.strides: 2, but the prior generator has 1'):
        fcos(strides=[8, 16])
