# PP-YOLOE's head for a CPU: one point a cell, strides 4 to 16, for images of about 128 pixels.
_base_ = ['./rtmdet_tiny.py']

model = dict(
    neck=dict(out_channels=48),
    bbox_head=dict(
        _delete_=True,
        type='PPYOLOEHead',
        num_classes=10,
        in_channels=48,
        # Squares of 16, 32 and 64 pixels.
        prior_generator=dict(
            type='MlvlPointGenerator', strides=[4, 8, 16], offset=0.5, box_scale=4.0
        ),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        # Distances up to 32, 64 and 128 pixels.
        reg_max=8,
        loss_cls=dict(type='VarifocalLoss', use_sigmoid=True, alpha=0.75, gamma=2.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.5),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.5),
    ),
    train_cfg=dict(
        _delete_=True,
        # A third of the training, as 100 of 300 epochs.
        initial_epoch=0.33,
        initial_assigner=dict(type='ATSSAssigner', topk=9),
        assigner=dict(type='TaskAlignedAssigner', topk=13, inside_first=True),
    ),
)
