# YOLOv4 (Bochkovskiy et al. 2020) with the CSP neck of Scaled-YOLOv4 (Wang et al. 2021).
model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        # Another size every ten steps: darknet's `random=1`, 608 over and times 1.4.
        batch_augments=[dict(type='BatchRandomResize', random_size_range=(448, 832), interval=10)],
    ),
    backbone=dict(type='YOLOv4CSPDarknet'),
    neck=dict(type='YOLOv4CSPPAN', in_channels=[256, 512, 1024]),
    bbox_head=dict(
        type='YOLOV3Head',
        num_classes=80,
        in_channels=[256, 512, 1024],
        out_channels=[256, 512, 1024],
        act_cfg=dict(type='LeakyReLU', negative_slope=0.1),
        # The anchors and scales of darknet's yolov4.cfg.
        prior_generator=dict(
            type='YOLOAnchorGenerator',
            base_sizes=[
                [(12, 16), (19, 36), (40, 28)],
                [(36, 75), (76, 55), (72, 146)],
                [(142, 110), (192, 243), (459, 401)],
            ],
            strides=[8, 16, 32],
        ),
        # Grid sensitivity (section 3.4 of the paper), by stride.
        bbox_coder=dict(type='YOLOBBoxCoder', scale_x_y=[(8, 1.2), (16, 1.1), (32, 1.05)]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
        loss_conf=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
        # iou_normalizer of yolov4.cfg.
        loss_bbox=dict(type='CIoULoss', loss_weight=0.07, reduction='sum'),
        # darknet divides the rate by the images of a step: means over images.
        loss_terms=dict(
            loss_cls=dict(normalizer='batch'),
            loss_conf=dict(normalizer='batch'),
            loss_bbox=dict(normalizer='batch'),
        ),
    ),
    train_cfg=dict(assigner=dict(type='YOLOV3Assigner', ignore_thr=0.7)),
    test_cfg=dict(
        nms_pre=1000,
        score_thr=0.001,
        conf_thr=0.001,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
    ),
)
