"""The bbox heads of two-stage detectors: every form trains, with every kind of loss."""

import copy
import math

import pytest
import torch
from small_two_stage import CLASSES, SIZE, images, losses_and_gradients, samples, small_config

from registry_losses.errors import PairingError
from registry_losses.registry import MODELS

LOSSES = [
    dict(loss_cls=dict(type='FocalLoss', activation='softmax')),
    dict(loss_cls=dict(type='SeesawLoss', num_classes=CLASSES)),
    dict(loss_bbox=dict(type='GIoULoss')),
    dict(loss_bbox=dict(type='GIoULoss'), reg_class_agnostic=True),
    dict(
        type='Shared4Conv1FCBBoxHead', conv_out_channels=8, norm_cfg=dict(type='GN', num_groups=2)
    ),
    dict(
        type='ConvFCBBoxHead',
        num_cls_fcs=1,
        num_reg_convs=1,
        conv_out_channels=8,
        with_avg_pool=True,
    ),
]


@pytest.mark.parametrize('changes', LOSSES, ids=lambda c: '-'.join(str(v) for v in c)[:40])
def test_losses_and_layers_by_name(changes):
    """Each trains: the losses fall, gradients reach the whole head, detections come out."""
    torch.manual_seed(0)
    model = MODELS.build(small_config(**copy.deepcopy(changes)))
    model.init_weights()
    optimizer = torch.optim.Adam(model.roi_head.parameters(), lr=3e-3)
    first = last = math.nan
    for _ in range(4):
        losses = losses_and_gradients(model, [3, 2])
        last = float(losses['loss_cls'].detach() + losses['loss_bbox'].detach())
        first = last if math.isnan(first) else first
        assert all(p.grad.abs().sum() > 0 for p in model.roi_head.parameters())
        optimizer.step()
    assert last < first
    found = model.eval()(images(2), samples([3, 2]), mode='predict')
    for sample in found:
        scores = sample.pred_instances.scores
        assert len(scores) and ((scores >= 0) & (scores <= 1)).all()
        assert (scores[1:] <= scores[:-1]).all()
        boxes = sample.pred_instances.bboxes
        assert (boxes >= 0).all() and (boxes <= SIZE).all()


def test_distributions_are_refused_without_bins():
    with pytest.raises(PairingError, match='bins'):
        MODELS.build(small_config(loss_bbox=dict(type='DistributionFocalLoss')))
