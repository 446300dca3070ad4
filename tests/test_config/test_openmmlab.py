"""A config as an mmdet user has it, RetinaNet's, builds here."""

import pytest
from mmengine.config import Config

from registry_losses.config import load_config
from registry_losses.engine import build_model

MMDET_STYLE = """
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    neck=dict(
        type='FPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        start_level=1,
        add_extra_convs='on_input',
        num_outs=5),
    bbox_head=dict(
        type='RetinaHead',
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[.0, .0, .0, .0],
            target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            min_pos_iou=0,
            ignore_iof_thr=-1),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
        debug=False),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=100))
"""


@pytest.fixture
def cfg():
    return Config.fromstring(MMDET_STYLE, '.py')


def test_it_builds(cfg):
    model = build_model(cfg)
    assert type(model).__name__ == 'SingleStageDetector'
    assert type(model.bbox_head.assigner).__name__ == 'MaxIoUAssigner'
    assert model.bbox_head.retina_cls.out_channels == 9 * 80


def test_what_is_translated_and_what_is_dropped(cfg):
    model = load_config(cfg).model
    assert model.type == 'SingleStageDetector'
    assert model.bbox_head.prior_generator.type == 'AnchorGenerator'
    assert 'anchor_generator' not in model.bbox_head
    assert set(model.train_cfg) == {'assigner', 'sampler', 'allowed_border'}


def test_the_heads_of_two_assigners_and_of_candidates_build(cfg):
    head = cfg.model.bbox_head
    generator = dict(head.anchor_generator, ratios=[1.0], scales_per_octave=1)
    common = dict(num_classes=80, in_channels=256, anchor_generator=generator,
                  bbox_coder=head.bbox_coder, loss_bbox=dict(type='GIoULoss'))  # fmt: skip
    cfg.model.type = 'TOOD'
    cfg.model.bbox_head = dict(
        common,
        type='TOODHead',
        anchor_type='anchor_free',
        initial_loss_cls=dict(type='FocalLoss', use_sigmoid=True, activated=True),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, activated=True, beta=2.0),
    )
    cfg.model.train_cfg = dict(
        initial_epoch=4,
        initial_assigner=dict(type='ATSSAssigner', topk=9),
        assigner=dict(type='TaskAlignedAssigner', topk=13),
        alpha=2,
        beta=5,
        allowed_border=-1,
    )
    tood = build_model(cfg).bbox_head
    assert (tood.assigner.alpha, tood.assigner.beta) == (2, 5)
    assert type(tood.initial.assigner).__name__ == 'ATSSAssigner'
    cfg.model.type = 'PAA'
    cfg.model.bbox_head = dict(
        common,
        type='PAAHead',
        reg_decoded_bbox=True,
        score_voting=True,
        topk=9,
        covariance_type='diag',
        loss_cls=dict(type='FocalLoss'),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.5),
    )
    candidates = dict(type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0)
    cfg.model.train_cfg = dict(assigner=candidates)
    assert type(build_model(cfg).bbox_head.assigner).__name__ == 'PAAAssigner'
