# RetinaNet for a CPU: 0.99 M parameters, strides 4 to 16, for images of about 128 pixels.
_base_ = ['../parts/tiny_net_fpn.py']

model = dict(
    type='SingleStageDetector',
    bbox_head=dict(
        type='RetinaHead',
        num_classes=10,
        in_channels=48,
        stacked_convs=1,
        feat_channels=48,
        norm_cfg=dict(type='BN'),
        norm_per_level=3,
        prior_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=2.6,
            scales_per_octave=3,
            ratios=[1.6],
            strides=[4, 8, 16],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0 / 9.0),
    ),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)
    ),
    test_cfg=dict(
        nms_pre=1000,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.5, class_agnostic=False),
        max_per_img=100,
    ),
)
