# CenterNet for a CPU: one map at stride 4, for images of about 128 pixels.
_base_ = ['./retinanet_tiny.py']

model = dict(
    # The finest map alone, all levels summed into it: on so small a network a chain of
    # deconvolutions from stride 16 learns the training images by heart (AP50 0.739).
    neck=dict(num_outs=1),
    bbox_head=dict(
        _delete_=True,
        type='CenterNetHead',
        num_classes=10,
        in_channels=48,
        feat_channels=64,
        prior_generator=dict(type='MlvlPointGenerator', strides=[4], offset=0),
        bbox_coder=dict(type='CenterNetBBoxCoder'),
        loss_cls=dict(type='GaussianFocalLoss', use_sigmoid=True),
        loss_wh=dict(type='L1Loss', loss_weight=0.1),
        loss_offset=dict(type='L1Loss', loss_weight=1.0),
    ),
    train_cfg=dict(_delete_=True, assigner=dict(type='CenterNetAssigner', min_overlap=0.3)),
    test_cfg=dict(_delete_=True, topk=100, local_maximum_kernel=3, max_per_img=100),
)
