# GFL for a CPU: one anchor a cell, strides 4 to 16, for images of about 128 pixels.
_base_ = ['./atss_tiny.py']

model = dict(
    bbox_head=dict(
        _delete_=True,
        type='GFLHead',
        num_classes=10,
        in_channels=48,
        stacked_convs=1,
        feat_channels=48,
        norm_cfg=dict(type='BN'),
        norm_per_level=3,
        prior_generator=_base_.model.bbox_head.prior_generator,
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
        # Distances up to 32, 64 and 128 pixels.
        reg_max=8,
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
)
