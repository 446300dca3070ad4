"""RTMDet by hand: shared convolutions, own norms, distances in strides, boxes at first."""

import math

import pytest
import torch
from one_cell import feats, head, predicted, sample, set_bias


def rtmdet(**options):
    node = dict(
        stacked_convs=1,
        feat_channels=2,
        prior_generator=dict(type='MlvlPointGenerator', strides=[4, 8], offset=0),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss'),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        train_cfg=dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=1)),
    )
    return head('RTMDetHead', **{**node, **options}).eval()


@pytest.mark.parametrize('share', [True, False])
def test_levels_share_convolutions_and_never_norms(share):
    first, second = rtmdet(share_conv=share).cls_convs
    assert (first[0].conv is second[0].conv) == share
    assert first[0].bn is not second[0].bn


@pytest.mark.parametrize('exp', [False, True])
def test_distances_are_in_strides_of_their_level(exp):
    built = rtmdet(exp_on_reg=exp)
    for level in range(2):
        values = [1.0, 2.0, 0.5, 3.0]
        set_bias(built.rtm_reg[level], [math.log(v) for v in values] if exp else values)
    boxes, _ = predicted(built, feats((2, 2), (1, 1)))
    assert boxes[0].tolist() == pytest.approx([-4, -8, 2, 12])
    assert boxes[-1].tolist() == pytest.approx([-8, -16, 4, 24])


@pytest.mark.parametrize('exp', [False, True])
def test_boxes_begin_at_those_of_their_priors(exp):
    built = rtmdet(exp_on_reg=exp)
    built.init_weights()
    for level in built.rtm_reg:
        torch.nn.init.zeros_(level.weight)
    boxes, scores = predicted(built, feats((2, 2), (1, 1)))
    maps = built(feats((2, 2), (1, 1)))
    assert torch.allclose(boxes, built.reader.priors(maps).boxes, atol=1e-5)
    assert scores.flatten().tolist() == pytest.approx([0.01] * 10, rel=1e-4)


def test_losses_by_quality_over_the_sum_of_qualities():
    """Nested boxes of IoU 1/4, which is the quality; a sum below 1 counts as 1."""
    points = dict(type='MlvlPointGenerator', strides=[8], offset=0.5)
    built = rtmdet(prior_generator=points)
    set_bias(built.rtm_cls[0], [0, 0])
    set_bias(built.rtm_reg[0], [0.25] * 4)
    losses = built.loss(feats((1, 1)), [sample([[0, 0, 8, 8]], [0])])
    assert losses['loss_bbox'].item() == pytest.approx(1 / 4 * 2 * (1 - 1 / 4), rel=1e-5)
    # QFL at p = 1/2: |q - p|^2 ln 2, q = 1/4 of the gt's class and q = 0 of the other.
    want = (0.25**2 + 0.5**2) * math.log(2)
    assert losses['loss_cls'].item() == pytest.approx(want, rel=1e-5)
