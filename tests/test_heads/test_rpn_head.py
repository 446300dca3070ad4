"""The RPN by hand: every gt is an object, both losses over the sampled anchors."""

import math

import pytest
from one_cell import feats, head, sample, set_bias


def rpn(**options):
    node = dict(
        num_classes=1,
        feat_channels=1,
        prior_generator=dict(type='AnchorGenerator', strides=[8], ratios=[1.0], scales=[1]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss'),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3),
            sampler=dict(type='RandomSampler', num=256, pos_fraction=0.5),
        ),
    )
    return head('RPNHead', **{**node, **options})


def test_losses_over_the_sampled_anchors_whatever_the_label():
    built = rpn()
    set_bias(built.rpn_cls, [1.0])
    set_bias(built.rpn_reg, [0.5, 0, 0, -1.5])
    losses = built.loss(feats((2, 2)), [sample([[-4, -4, 4, 4]], [6], size=(16, 16))])
    positive, negative = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    assert losses['loss_cls'].item() == pytest.approx((positive + 3 * negative) / 4, rel=1e-5)
    assert losses['loss_bbox'].item() == pytest.approx((0.5 + 1.5) / 4, rel=1e-5)


@pytest.mark.parametrize('num_convs', [1, 2])
def test_hidden_layers(num_convs):
    built = rpn(num_convs=num_convs, feat_channels=3)
    assert sum(p.dim() == 4 for p in built.rpn_conv.parameters()) == num_convs
    logits, codes = built(feats((2, 3)))
    assert logits[0].shape == (1, 1, 2, 3) and codes[0].shape == (1, 4, 2, 3)
