"""PP-YOLOE's and YOLOv6's head: branches, first boxes, losses by hand."""

import math

import pytest
import torch

from registry_losses.errors import ConfigError
from registry_losses.heads import LossInputs, evaluate_terms
from registry_losses.registry import MODELS
from registry_losses.structures import Assignment, GroundTruth, HeadOutput


def head(**options):
    node = dict(
        type='PPYOLOEHead',
        num_classes=2,
        in_channels=8,
        reg_max=4,
        prior_generator=dict(type='MlvlPointGenerator', strides=[4, 8], box_scale=3.0),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='VarifocalLoss'),
        loss_bbox=dict(type='GIoULoss'),
        loss_dfl=dict(type='DistributionFocalLoss'),
    )
    built = MODELS.build({**node, **options})
    built.init_weights()
    return built.eval()


FEATS = [torch.randn(1, 8, s, s, generator=torch.Generator().manual_seed(s)) for s in (4, 2)]


@pytest.mark.parametrize('branches', ['attention', 'convs'])
def test_boxes_begin_at_those_of_their_priors_and_classes_rare(branches):
    built = head(branches=branches)
    for reg in built.pred_reg:
        reg.weight.data.zero_()
    maps = built(FEATS)
    output, priors = built.reader.flatten(maps), built.reader.priors(maps)
    torch.testing.assert_close(built.reader.boxes(output, priors), priors.boxes[None], atol=1e-3,
                               rtol=0)  # fmt: skip
    assert built.reader.scores(output).mean() < 0.03


def test_attention_gates_channels_and_classes_keep_what_was_there():
    built = head()
    stem = built.cls_stems[0]
    stem.fc.weight.data.zero_()
    stem.conv.conv.weight.data.zero_()  # what the stem adds is 0 then
    built.pred_cls[0].weight.data.normal_()
    torch.testing.assert_close(built(FEATS)[0][0], built.pred_cls[0](FEATS[0]))
    stem.conv.conv.weight.data.normal_()
    half = stem.conv(FEATS[0] * 0.5)
    torch.testing.assert_close(stem(FEATS[0]), half)


def test_all_terms_are_over_the_sum_of_qualities():
    built = head()
    priors = built.prior_generator([(1, 1), (1, 1)])
    box = priors.boxes[:1]
    gt = GroundTruth.from_lists([box], [torch.tensor([1])], [(16, 16)])
    zero = torch.zeros(1, dtype=torch.long)
    ignored = torch.tensor([[False, True]])
    pairs = Assignment(zero, zero, zero, ignored, quality=torch.tensor([0.5]))
    maps = dict(cls=torch.zeros(1, 2, 2), bbox=torch.zeros(1, 2, 20))
    inputs = LossInputs(HeadOutput.of(maps), priors, gt, pairs, built.bbox_coder, 2)
    losses = evaluate_terms(built.loss_terms, inputs)
    # Sums of qualities below 1 count as 1. Targets are 1.5 strides; bins uniform over 0 to 4.
    assert losses['loss_dfl'].item() == pytest.approx(0.5 * math.log(5), rel=1e-5)
    assert losses['loss_bbox'].item() == pytest.approx(0.5 * (1 - (3 / 4) ** 2), rel=1e-5)
    negative = 0.75 * 0.5**2 * math.log(2)
    assert losses['loss_cls'].item() == pytest.approx(0.5 * math.log(2) + negative, rel=1e-5)


def test_refusals():
    with pytest.raises(ConfigError, match='expected attention or convs'):
        head(branches='both')
    with pytest.raises(ConfigError, match='3, but the prior generator has 2 levels'):
        head(in_channels=[8, 8, 8])
    with pytest.raises(ConfigError, match='expected bins=5'):
        head(bbox_coder=dict(type='DistancePointBBoxCoder', bins=3))
    phase = dict(
        assigner=dict(type='TaskAlignedAssigner'),
        initial_assigner=dict(type='ATSSAssigner'),
        initial_epoch=2,
    )
    built = head(train_cfg=phase)
    built.epoch = 1
    assert built.initial.is_on() and built.active_terms() == built.loss_terms
    built.epoch = 2
    assert not built.initial.is_on()
