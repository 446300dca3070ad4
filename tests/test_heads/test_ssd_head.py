"""SSD by hand: as many boxes as each level has, softmax with background, hard negatives."""

import math

import pytest
import torch
from one_cell import feats, head, predicted, sample, set_bias

from registry_losses.errors import ConfigError


def ssd(**options):
    node = dict(
        in_channels=(1,),
        prior_generator=dict(type='AnchorGenerator', strides=[8], ratios=[1.0], scales=[1]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5),
            sampler=dict(type='HardNegativeSampler', neg_pos_ratio=1),
        ),
    )
    return head('SSDHead', **{**node, **options})


def test_levels_have_default_boxes_of_their_own():
    boxes = dict(
        type='SSDAnchorGenerator',
        strides=[8, 16, 32],
        ratios=[[2], [2, 3], [2]],
        input_size=32,
        basesize_ratio_range=(0.2, 0.9),
    )
    built = ssd(in_channels=(1, 1, 1), prior_generator=boxes)
    logits, codes = built(feats((4, 4), (2, 2), (1, 1)))
    assert [m.shape[1] for m in logits] == [4 * 3, 6 * 3, 4 * 3]  # with background
    assert [m.shape[1] for m in codes] == [4 * 4, 6 * 4, 4 * 4]


def test_background_is_no_class():
    built = ssd()
    set_bias(built.cls_convs[0][0], [0, math.log(3), math.log(4)])
    assert predicted(built, feats((1, 1)))[1][0].tolist() == pytest.approx([1 / 8, 3 / 8])


def test_one_hard_negative_for_the_positive():
    """Four boxes of which one is positive: the positive and one negative are charged."""
    built = ssd()
    set_bias(built.cls_convs[0][0], [0, math.log(3), math.log(4)])
    set_bias(built.reg_convs[0][0], [0.5, 0, 0, 2.0])
    losses = built.loss(feats((2, 2)), [sample([[-4, -4, 4, 4]], [1], size=(16, 16))])
    assert losses['loss_cls'].item() == pytest.approx(math.log(8 / 3) + math.log(8 / 4), rel=1e-5)
    # The first default box is the gt: codes of 0, missed by 0.5 and by 2.
    assert losses['loss_bbox'].item() == pytest.approx(0.5**2 / 2 + (2 - 0.5), rel=1e-5)


def test_objects_start_rare_only_where_every_prior_is_charged():
    every = ssd(train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=1, neg_iou_thr=1)))
    every.init_weights()
    rare = every.cls_convs[0][0].bias.softmax(0)
    assert rare[:2].sum().item() == pytest.approx(0.01)
    mining = ssd()
    mining.init_weights()
    assert torch.equal(mining.cls_convs[0][0].bias, torch.zeros(3))


def test_a_map_for_every_level():
    with pytest.raises(ConfigError, match=r'SSDHead\.in_channels: 2 maps'):
        ssd(in_channels=(1, 1))
