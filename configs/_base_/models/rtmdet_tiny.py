# RTMDet for a CPU: one point a cell, strides 4 to 16, for images of about 128 pixels.
_base_ = ['./retinanet_tiny.py']

model = dict(
    neck=dict(
        _delete_=True,
        type='CSPNeXtPAFPN',
        in_channels=[32, 64, 128],
        out_channels=64,
        num_csp_blocks=1,
    ),
    bbox_head=dict(
        _delete_=True,
        type='RTMDetHead',
        num_classes=10,
        in_channels=64,
        feat_channels=64,
        stacked_convs=1,
        # Squares of 16, 32 and 64 pixels.
        prior_generator=dict(type='MlvlPointGenerator', strides=[4, 8, 16], box_scale=4.0),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(_delete_=True, assigner=dict(type='DynamicSoftLabelAssigner', topk=13)),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
