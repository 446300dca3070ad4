# SSD for a CPU: default boxes at strides 4 to 16, for images of about 128 pixels.
_base_ = ['./retinanet_tiny.py']

model = dict(
    bbox_head=dict(
        _delete_=True,
        type='SSDHead',
        num_classes=10,
        in_channels=(48, 48, 48),
        prior_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=2.6,
            scales_per_octave=3,
            ratios=[1.6],
            strides=[4, 8, 16],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
    ),
    train_cfg=dict(
        _delete_=True,
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.0,
            gt_max_assign_all=False,
        ),
        sampler=dict(type='HardNegativeSampler', neg_pos_ratio=3),
    ),
    test_cfg=dict(score_thr=0.02, nms=dict(iou_threshold=0.45)),
)
