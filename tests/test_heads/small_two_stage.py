"""A small Faster R-CNN, and samples for it."""

import torch
from mmengine.structures import InstanceData

from registry_losses.structures import DetDataSample

CLASSES = 4
SIZE = 64


def small_config(**roi):
    """A small Faster R-CNN; ``roi`` changes its bbox head."""
    max_iou = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5)
    return dict(
        type='TwoStageDetector',
        backbone=dict(type='TinyNet', widths=(8, 16, 24), depths=(0, 0, 0)),
        neck=dict(type='FPN', in_channels=[8, 16, 24], out_channels=8, num_outs=3),
        rpn_head=dict(
            type='RPNHead',
            in_channels=8,
            feat_channels=8,
            prior_generator=dict(
                type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8, 16]
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='L1Loss'),
        ),
        roi_head=dict(
            type='RoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=3),
                out_channels=8,
                featmap_strides=[4, 8],
                finest_scale=16,
            ),
            bbox_head={
                **dict(
                    type='Shared2FCBBoxHead',
                    in_channels=8,
                    fc_out_channels=16,
                    roi_feat_size=3,
                    num_classes=CLASSES,
                ),
                **roi,
            },
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=dict(
                    type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3
                ),
                sampler=dict(type='RandomSampler', num=32, pos_fraction=0.5),
            ),
            rpn_proposal=dict(nms_pre=100, max_per_img=40, nms=dict(type='nms', iou_threshold=0.7)),
            rcnn=dict(
                assigner=dict(max_iou, match_low_quality=False),
                sampler=dict(type='RandomSampler', num=16, pos_fraction=0.5),
            ),
        ),
        test_cfg=dict(
            rpn=dict(nms_pre=100, max_per_img=40, nms=dict(type='nms', iou_threshold=0.7)),
            rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20),
        ),
    )


def samples(counts, size=SIZE):
    """As many images as ``counts``, each with so many gts."""
    out = []
    for image, count in enumerate(counts):
        generator = torch.Generator().manual_seed(image)
        low = torch.rand(count, 2, generator=generator) * size / 2
        sides = 8 + torch.rand(count, 2, generator=generator) * (size / 2 - 8)
        shape = (size, size)
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape, img_id=image)
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.cat((low, low + sides), dim=1), labels=torch.arange(count) % CLASSES
        )
        out.append(sample)
    return out


def images(count, size=SIZE):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(7))


def losses_and_gradients(model, counts):
    model.train().zero_grad()
    losses = model(images(len(counts)), samples(counts), mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    for name, value in losses.items():
        assert torch.isfinite(value), name
    return losses
