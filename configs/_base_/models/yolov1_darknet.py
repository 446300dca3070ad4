# YOLOv1 (Redmon et al. 2016): 7 x 7 cells of 64 pixels, two boxes a cell, 20 classes.
model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=64,
    ),
    # The paper has no batch norm, but starts from a classifier trained on ImageNet.
    backbone=dict(type='YOLOV1Darknet'),
    bbox_head=dict(
        type='YOLOV1Head',
        num_classes=20,
        in_channels=1024,
        prior_generator=dict(
            type='MlvlPointGenerator', strides=[64], num_base=2, shared_classes=True
        ),
        bbox_coder=dict(type='YOLOV1BBoxCoder', input_size=(448, 448)),
        loss_cls=dict(type='MSELoss'),
        loss_conf=dict(type='MSELoss'),
        loss_bbox=dict(type='MSELoss', loss_weight=5.0),
        lambda_noobj=0.5,
        fc_channels=4096,
        grid_size=7,
        dropout=0.5,
    ),
    train_cfg=dict(assigner=dict(type='YOLOV1Assigner')),
    test_cfg=dict(
        nms_pre=1000,
        score_thr=0.005,
        nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=98,
    ),
)
