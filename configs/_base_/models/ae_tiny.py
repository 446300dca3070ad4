# Associative embedding for a CPU: stride 4, for images of about 128 pixels.
_base_ = ['../parts/tiny_net_pose.py']

model = dict(
    head=dict(
        type='AEHead',
        skeleton='coco_17',
        in_channels=64,
        conv_out_channels=(96,),
        norm_cfg=dict(type='BN'),
        tag_std=0.1,
        prior_generator=dict(type='MlvlPointGenerator', strides=[4]),
        # 0.999 Ld + 0.001 Lg, as the source has it. Within Lg the push counts eightfold: where
        # it does not outweigh the pull, all tags fall together and stay so.
        loss_heatmap=dict(type='KeypointMSELoss', loss_weight=0.999, foreground=10.0),
        loss_tag=dict(type='AssociativeEmbeddingLoss', loss_weight=0.001, push_loss_factor=8.0),
    ),
    # Chosen on training images.
    test_cfg=dict(threshold=0.4, kernel=5, tag_thr=1.5, min_joints=3),
)
