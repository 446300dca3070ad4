# A backbone for a CPU and FPN: strides 4 to 16, for images of about 128 pixels.
model = dict(
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[64.0, 64.0, 64.0],
        bgr_to_rgb=False,
        pad_size_divisor=16,
    ),
    backbone=dict(type='TinyNet', widths=(32, 64, 128), depths=(1, 2, 2)),
    neck=dict(type='FPN', in_channels=[32, 64, 128], out_channels=48, num_outs=3),
)
