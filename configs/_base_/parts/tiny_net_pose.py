# A backbone for a CPU and FPN down to stride 4, for poses in images of about 128 pixels.
model = dict(
    type='BottomupPoseEstimator',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[64.0, 64.0, 64.0],
        bgr_to_rgb=False,
        pad_size_divisor=32,
    ),
    backbone=dict(type='TinyNet', widths=(32, 64, 128, 160), depths=(1, 2, 2, 1)),
    neck=dict(type='FPN', in_channels=[32, 64, 128, 160], out_channels=64, num_outs=1),
    train_cfg=dict(assigner=dict(type='GaussianAssigner', sigma=1.5, unbiased=True)),
)
