# YOLOv1 for a CPU: 8 x 8 cells of 16 pixels, two boxes a cell, images of 128 pixels.
_base_ = ['./retinanet_tiny.py']

model = dict(
    backbone=dict(depths=(1, 2, 4), out_indices=(2,)),
    neck=None,
    bbox_head=dict(
        _delete_=True,
        type='YOLOV1Head',
        num_classes=10,
        in_channels=128,
        prior_generator=dict(
            type='MlvlPointGenerator', strides=[16], num_base=2, shared_classes=True
        ),
        bbox_coder=dict(type='YOLOV1BBoxCoder', input_size=(128, 128)),
        loss_cls=dict(type='MSELoss'),
        loss_conf=dict(type='MSELoss'),
        loss_bbox=dict(type='MSELoss', loss_weight=5.0),
        lambda_noobj=0.5,
    ),
    train_cfg=dict(_delete_=True, assigner=dict(type='YOLOV1Assigner')),
    test_cfg=dict(score_thr=0.02),
)
