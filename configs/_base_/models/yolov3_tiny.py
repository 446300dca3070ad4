# YOLOv3 for a CPU: nine anchors at strides 16 to 4, for images of about 128 pixels.
_base_ = ['./retinanet_tiny.py']

model = dict(
    neck=dict(
        _delete_=True,
        type='YOLOV3Neck',
        num_scales=3,
        in_channels=[128, 64, 32],
        out_channels=[48, 32, 24],
    ),
    bbox_head=dict(
        _delete_=True,
        type='YOLOV3Head',
        num_classes=10,
        in_channels=[48, 32, 24],
        out_channels=[64, 48, 48],
        # 9-means of the training boxes.
        prior_generator=dict(
            type='YOLOAnchorGenerator',
            base_sizes=[
                [(25, 38), (28, 47), (37, 51)],
                [(18, 25), (16, 29), (20, 32)],
                [(10, 18), (12, 19), (14, 23)],
            ],
            strides=[16, 8, 4],
        ),
        bbox_coder=dict(type='YOLOBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
        loss_conf=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
        loss_xy=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=2.0, reduction='sum'),
        loss_wh=dict(type='MSELoss', loss_weight=2.0, reduction='sum'),
    ),
    train_cfg=dict(
        _delete_=True,
        assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0),
    ),
    test_cfg=dict(conf_thr=0.005, nms=dict(iou_threshold=0.45)),
)
