# PAA, ResNet-50 and FPN (Kim and Lee 2020).
_base_ = ['./retinanet_r50_fpn.py']

model = dict(
    neck=dict(add_extra_convs='on_output'),
    bbox_head=dict(
        _delete_=True,
        type='PAAHead',
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        score_voting=True,
        prior_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=8,
            scales_per_octave=1,
            strides=[8, 16, 32, 64, 128],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.3),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.5),
    ),
    train_cfg=dict(_delete_=True, assigner=dict(type='PAAAssigner', topk=9), allowed_border=-1),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
