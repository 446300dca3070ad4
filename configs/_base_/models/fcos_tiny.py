# FCOS for a CPU: strides 4 to 16, for images of about 128 pixels.
_base_ = ['./retinanet_tiny.py']

model = dict(
    bbox_head=dict(
        _delete_=True,
        type='FCOSHead',
        num_classes=10,
        in_channels=48,
        stacked_convs=1,
        feat_channels=48,
        strides=[4, 8, 16],
        norm_cfg=dict(type='BN'),
        norm_per_level=3,
        # Of the paper's later version: distances in strides, centreness beside the boxes.
        norm_on_bbox=True,
        centerness_on_reg=True,
        prior_generator=dict(type='MlvlPointGenerator', strides=[4, 8, 16]),
        bbox_coder=dict(type='DistancePointBBoxCoder', normalize_by_stride=True),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type='GIoULoss'),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    train_cfg=dict(
        _delete_=True,
        # Digits are 12 to 57 pixels high, so the greatest distance is 6 to 57.
        assigner=dict(
            type='FCOSAssigner',
            regress_ranges=((-1, 18), (18, 32), (32, 1e8)),
            center_sampling=True,
            center_sample_radius=1.5,
        ),
    ),
)
