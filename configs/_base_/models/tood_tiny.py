# TOOD for a CPU: one anchor a cell, strides 4 to 16, for images of about 128 pixels.
_base_ = ['./atss_tiny.py']

model = dict(
    bbox_head=dict(
        _delete_=True,
        type='TOODHead',
        num_classes=10,
        in_channels=48,
        stacked_convs=2,
        feat_channels=48,
        norm_cfg=dict(type='GN', num_groups=8),
        prior_generator=_base_.model.bbox_head.prior_generator,
        initial_loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(
        _delete_=True,
        # A third of the training, as 4 of 12 epochs.
        initial_epoch=0.33,
        initial_assigner=dict(type='ATSSAssigner', topk=9),
        assigner=dict(type='TaskAlignedAssigner', topk=13),
    ),
)
