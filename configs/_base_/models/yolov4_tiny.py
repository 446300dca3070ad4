# YOLOv4 for a CPU: YOLOv3's priors with CIoU and a path aggregation neck with Mish.
_base_ = ['./yolov3_tiny.py']

model = dict(
    neck=dict(
        _delete_=True,
        type='YOLOv4CSPPAN',
        in_channels=[32, 64, 128],
        num_csp_blocks=1,
    ),
    bbox_head=dict(
        in_channels=[32, 64, 128],
        out_channels=[48, 64, 64],
        prior_generator=dict(
            base_sizes=[
                [(10, 18), (12, 19), (14, 23)],
                [(18, 25), (16, 29), (20, 32)],
                [(25, 38), (28, 47), (37, 51)],
            ],
            strides=[4, 8, 16],
        ),
        bbox_coder=dict(scale_x_y=1.1),
        loss_xy=None,
        loss_wh=None,
        loss_bbox=dict(type='CIoULoss', loss_weight=3.0, reduction='sum'),
    ),
    train_cfg=dict(assigner=dict(_delete_=True, type='YOLOV3Assigner', ignore_thr=0.7)),
    test_cfg=dict(nms=dict(iou_threshold=0.5)),
)
