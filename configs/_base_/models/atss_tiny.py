# ATSS for a CPU: one anchor a cell, strides 4 to 16, for images of about 128 pixels.
_base_ = ['./retinanet_tiny.py']

model = dict(
    bbox_head=dict(
        _delete_=True,
        type='ATSSHead',
        num_classes=10,
        in_channels=48,
        stacked_convs=1,
        feat_channels=48,
        norm_cfg=dict(type='BN'),
        norm_per_level=3,
        prior_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=3.2,
            scales_per_octave=1,
            ratios=[1.6],
            strides=[4, 8, 16],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    train_cfg=dict(_delete_=True, assigner=dict(type='ATSSAssigner', topk=9)),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
