# PP-YOLOE's head (Xu et al. 2022) on CSPNeXt-s and its neck, 640 x 640.
_base_ = ['./rtmdet_t.py']

model = dict(
    # The size drawn anew every 10 steps, as in the paper.
    data_preprocessor=dict(
        batch_augments=[dict(type='BatchRandomResize', random_size_range=(320, 768), interval=10)],
    ),
    backbone=dict(deepen_factor=0.33, widen_factor=0.5),
    neck=dict(in_channels=[128, 256, 512], out_channels=128),
    bbox_head=dict(
        _delete_=True,
        type='PPYOLOEHead',
        num_classes=80,
        in_channels=128,
        reg_max=16,
        prior_generator=dict(
            type='MlvlPointGenerator', strides=[8, 16, 32], offset=0.5, box_scale=5.0
        ),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='VarifocalLoss', use_sigmoid=True, alpha=0.75, gamma=2.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.5),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.5),
    ),
    train_cfg=dict(
        _delete_=True,
        initial_epoch=100,
        initial_assigner=dict(type='ATSSAssigner', topk=9),
        assigner=dict(type='TaskAlignedAssigner', topk=13, inside_first=True),
    ),
    test_cfg=dict(nms_pre=1000, score_thr=0.01, nms=dict(iou_threshold=0.7)),
)
