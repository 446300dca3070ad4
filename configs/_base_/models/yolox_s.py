# YOLOX-s (Ge et al. 2021), 640 x 640.
model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        # Pixels from 0 to 255, as the published weights expect them.
        mean=[0.0, 0.0, 0.0],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
        pad_size_divisor=32,
        batch_augments=[dict(type='BatchRandomResize', random_size_range=(480, 800), interval=10)],
    ),
    backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.5),
    neck=dict(type='YOLOXPAFPN', in_channels=[128, 256, 512], out_channels=128, num_csp_blocks=1),
    bbox_head=dict(
        type='YOLOXHead',
        num_classes=80,
        in_channels=128,
        feat_channels=128,
        prior_generator=dict(type='MlvlPointGenerator', strides=[8, 16, 32]),
        # The common implementation does not clip boxes to the image.
        bbox_coder=dict(type='YOLOXBBoxCoder', from_corner=True, clip_border=False),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='IoULoss', mode='square', eps=1e-16, loss_weight=5.0),
        loss_obj=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_l1=dict(type='L1Loss', loss_weight=1.0),
    ),
    train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
    test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65), max_per_img=300),
)
