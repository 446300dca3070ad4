# YOLOv5 for a CPU: nine anchors at strides 4 to 16, for images of about 128 pixels.
_base_ = ['./retinanet_tiny.py']

model = dict(
    neck=dict(
        _delete_=True,
        type='YOLOv5PAFPN',
        in_channels=[32, 64, 128],
        num_csp_blocks=1,
    ),
    bbox_head=dict(
        _delete_=True,
        type='YOLOV5Head',
        num_classes=10,
        in_channels=[32, 64, 128],
        # 9-means of the training boxes.
        prior_generator=dict(
            type='YOLOAnchorGenerator',
            base_sizes=[
                [(10, 18), (12, 19), (14, 23)],
                [(18, 25), (16, 29), (20, 32)],
                [(25, 38), (28, 47), (37, 51)],
            ],
            strides=[4, 8, 16],
        ),
        bbox_coder=dict(type='YOLOV5BBoxCoder'),
        # Class and objectness weigh as for COCO at 640 pixels: scaled by classes and image
        # area, as the released code scales them, objectness would weigh 0.04 here and hardly
        # be learnt. Boxes weigh ten times as much as there.
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.5),
        loss_obj=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='YOLOIoULoss', iou_mode='ciou', loss_weight=0.5),
        obj_level_weights=(4.0, 1.0, 0.4),
    ),
    train_cfg=dict(_delete_=True, assigner=dict(type='YOLOV5Assigner', prior_match_thr=2.0)),
    test_cfg=dict(nms_pre=3000, score_thr=0.01, multi_label=True, nms=dict(iou_threshold=0.5)),
)
