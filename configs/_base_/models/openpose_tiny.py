# OpenPose for a CPU: stride 4, for images of about 128 pixels.
model = dict(
    type='BottomupPoseEstimator',
    channels_last=True,
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[64.0, 64.0, 64.0],
        bgr_to_rgb=False,
        pad_size_divisor=32,
    ),
    backbone=dict(type='TinyNet', widths=(32, 64, 128, 160), depths=(1, 2, 2, 1)),
    neck=dict(type='FPN', in_channels=[32, 64, 128, 160], out_channels=64, num_outs=1),
    head=dict(
        type='OpenPoseHead',
        skeleton='coco_17',
        in_channels=64,
        stages=[dict(kernels=(3,), channels=(96,))],
        shared=True,
        norm_cfg=dict(type='BN'),
        half_width=1.0,
        prior_generator=dict(type='MlvlPointGenerator', strides=[4]),
        loss_heatmap=dict(type='KeypointMSELoss', foreground=10.0),
        loss_field=dict(type='PAFLoss', foreground=10.0),
    ),
    train_cfg=dict(assigner=dict(type='GaussianAssigner', sigma=1.5, unbiased=True)),
    # Chosen on training images.
    test_cfg=dict(threshold=0.2, kernel=5, min_joints=3),
)
