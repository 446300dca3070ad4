# TOOD, ResNet-50 and FPN (Feng et al. 2021).
_base_ = ['./atss_r50_fpn.py']

model = dict(
    bbox_head=dict(
        _delete_=True,
        type='TOODHead',
        num_classes=80,
        in_channels=256,
        stacked_convs=6,
        feat_channels=256,
        anchor_type='anchor_free',
        prior_generator=_base_.model.bbox_head.prior_generator,
        initial_loss_cls=dict(
            type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0
        ),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(
        _delete_=True,
        initial_epoch=4,
        initial_assigner=dict(type='ATSSAssigner', topk=9),
        assigner=dict(type='TaskAlignedAssigner', topk=13, alpha=1.0, beta=6.0),
        allowed_border=-1,
    ),
)
