# OpenPose on COCO: the first ten layers of VGG-19, six stages, 368 x 368.
_base_ = [
    '../_base_/parts/imagenet.py',
    '../_base_/datasets/coco_pose.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='BottomupPoseEstimator',
    data_preprocessor=dict(pad_size_divisor=8),
    backbone=dict(
        type='VGG',
        depth=19,
        num_convs=10,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://vgg19'),
    ),
    head=dict(
        type='OpenPoseHead',
        # 18 joints, the neck half way between the shoulders, and 19 limbs: with those from the
        # shoulders to the ears, which are often hidden, 38 channels of fields.
        skeleton='openpose_18',
        in_channels=512,
        feat_channels=(256, 128),
        prior_generator=dict(type='MlvlPointGenerator', strides=[8]),
        half_width=1.0,
        loss_heatmap=dict(type='KeypointMSELoss'),
        loss_field=dict(type='PAFLoss'),
        # Equation 5: sums over all cells and maps of a stage, a mean over the images.
        loss_terms=dict(
            loss_heatmap=dict(normalizer='batch', factor=1.0),
            loss_background=dict(normalizer='batch', factor=1.0),
            loss_field=dict(normalizer='batch'),
        ),
    ),
    # Half a person's head wide: 7 pixels at 368.
    train_cfg=dict(assigner=dict(type='GaussianAssigner', sigma=0.875, unbiased=True)),
    test_cfg=dict(threshold=0.1, kernel=3, limit=30, min_joints=4, min_score=0.0),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_keypoints=True),
    dict(type='Resize', scale=(368, 368), keep_ratio=True),
    dict(type='Pad', size=(368, 368), pad_val=(103.53, 116.28, 123.675)),
    dict(
        type='RandomAffine',
        max_rotate_degree=40,
        max_translate_ratio=40 / 368,
        scaling_ratio_range=(0.75, 1.5),
        max_shear_degree=0,
        border_val=(103.53, 116.28, 123.675),
        min_bbox_size=0,
        min_area_ratio=0,
        max_aspect_ratio=1e6,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_keypoints=True),
    dict(type='Resize', scale=(1472, 368), keep_ratio=True),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(batch_size=10, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=60, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=60, by_epoch=True, milestones=[20, 40], gamma=0.333),
]
# VGG's layers learn four times slower than the new ones.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=4e-5, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.25))),
)
default_hooks = dict(checkpoint=dict(interval=2, save_best='coco/keypoints_mAP', rule='greater'))
auto_scale_lr = dict(enable=False, base_batch_size=10)
