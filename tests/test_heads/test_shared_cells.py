"""CenterNet where two centres share a cell, and YOLOv5's boxes beyond the image."""

import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.registry import MODELS
from registry_losses.structures import DetDataSample


def centernet() -> torch.nn.Module:
    return MODELS.build(
        dict(
            type='CenterNetHead',
            num_classes=3,
            in_channels=4,
            feat_channels=4,
            prior_generator=dict(type='MlvlPointGenerator', strides=[4], offset=0),
            bbox_coder=dict(type='CenterNetBBoxCoder'),
            loss_cls=dict(type='GaussianFocalLoss', use_sigmoid=True),
            loss_wh=dict(type='L1Loss', loss_weight=0.1),
            loss_offset=dict(type='L1Loss'),
            train_cfg=dict(assigner=dict(type='CenterNetAssigner')),
        )
    )


@pytest.mark.parametrize(('labels', 'count'), [([0, 1], 2), ([1, 1], 1)])
def test_the_last_gt_of_a_cell_is_learnt_and_each_class_counts(labels, count):
    head = centernet()
    torch.nn.init.zeros_(head.wh_head[-1].weight)
    torch.nn.init.zeros_(head.wh_head[-1].bias)
    sample = DetDataSample(metainfo=dict(img_shape=(32, 32), batch_input_shape=(32, 32)))
    boxes = torch.tensor([[13.0, 13, 15, 15], [6, 10, 22, 18]])  # 2 x 2 and 16 x 8, one centre
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor(labels))
    losses = head.loss([torch.randn(1, 4, 8, 8)], [sample])
    assert losses['loss_wh'].item() == pytest.approx(0.1 * (16 / 4 + 8 / 4) / (2 * count))


def test_yolov5_suppresses_before_it_clips():
    """Two boxes that are one inside the image and two beyond it both stay."""
    head = MODELS.build(
        dict(
            type='YOLOV5Head',
            num_classes=1,
            in_channels=[4],
            prior_generator=dict(
                type='YOLOAnchorGenerator', base_sizes=[[(8, 8), (40, 40)]], strides=[8]
            ),
            bbox_coder=dict(type='YOLOV5BBoxCoder'),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
            loss_obj=dict(type='CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='YOLOIoULoss'),
            obj_level_weights=(1.0,),
            test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6), score_thr=0.5),
        )
    )
    raw = torch.full((1, 2, 6, 2, 2), -9.0)
    raw[0, :, 4:, 0, 0] = 9.0  # both anchors of the first cell
    raw[0, 0, :4, 0, 0] = 9.0  # 32 x 32
    raw[0, 1, :4, 0, 0] = 9.0  # 160 x 160 around the same centre
    (found,) = head.predict_by_feat([raw.flatten(1, 2)], batch_img_metas=[dict(img_shape=(16, 16))])
    assert torch.equal(found.bboxes, torch.tensor([[0.0, 0, 16, 16]]).expand(2, 4))
