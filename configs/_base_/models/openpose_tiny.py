# OpenPose for a CPU: stride 4, for images of about 128 pixels.
_base_ = ['../parts/tiny_net_pose.py']

model = dict(
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
    # Chosen on training images.
    test_cfg=dict(threshold=0.3, kernel=3, min_joints=3),
)
