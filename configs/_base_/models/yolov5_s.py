# YOLOv5-s, release 6.1 (Jocher et al.).
_num_classes = 80
_num_levels = 3
_image_size = 640

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='YOLOv5CSPDarknet',
        deepen_factor=0.33,
        widen_factor=0.5,
        norm_cfg=dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg=dict(type='SiLU', inplace=True),
    ),
    neck=dict(
        type='YOLOv5PAFPN',
        deepen_factor=0.33,
        widen_factor=0.5,
        in_channels=[256, 512, 1024],
        num_csp_blocks=3,
        norm_cfg=dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg=dict(type='SiLU', inplace=True),
    ),
    bbox_head=dict(
        type='YOLOV5Head',
        num_classes=_num_classes,
        in_channels=[128, 256, 512],
        prior_generator=dict(
            type='YOLOAnchorGenerator',
            base_sizes=[
                [(10, 13), (16, 30), (33, 23)],
                [(30, 61), (62, 45), (59, 119)],
                [(116, 90), (156, 198), (373, 326)],
            ],
            strides=[8, 16, 32],
        ),
        bbox_coder=dict(type='YOLOV5BBoxCoder'),
        # The weights scale with the classes, the levels and the image area.
        loss_cls=dict(
            type='CrossEntropyLoss',
            use_sigmoid=True,
            loss_weight=0.5 * (_num_classes / 80 * 3 / _num_levels),
        ),
        loss_obj=dict(
            type='CrossEntropyLoss',
            use_sigmoid=True,
            loss_weight=1.0 * ((_image_size / 640) ** 2 * 3 / _num_levels),
        ),
        loss_bbox=dict(
            type='YOLOIoULoss', iou_mode='ciou', eps=1e-7, loss_weight=0.05 * (3 / _num_levels)
        ),
        obj_level_weights=(4.0, 1.0, 0.4),
    ),
    train_cfg=dict(assigner=dict(type='YOLOV5Assigner')),
    test_cfg=dict(
        nms_pre=30000,
        score_thr=0.001,
        multi_label=True,
        nms=dict(type='nms', iou_threshold=0.65),
        max_per_img=300,
    ),
)
