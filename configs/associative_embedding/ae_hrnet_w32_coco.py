# Associative embedding on COCO: HRNet-W32, 512 x 512, 300 epochs of 192 images a step.
_base_ = [
    '../_base_/parts/imagenet.py',
    '../_base_/datasets/coco_pose.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='BottomupPoseEstimator',
    backbone=dict(
        type='HRNet',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmpose/pretrain_models/'
            'hrnet_w32-36af842e.pth',
        ),
    ),
    head=dict(
        type='AEHead',
        skeleton='coco_17',
        in_channels=32,
        tag_dim=1,
        # Cells are counted from their corner, as the published weights have learnt it.
        prior_generator=dict(type='MlvlPointGenerator', strides=[4], offset=0.0),
        loss_heatmap=dict(type='KeypointMSELoss', use_target_weight=True, loss_weight=1.0),
        loss_tag=dict(type='AssociativeEmbeddingLoss', loss_weight=0.001, push_loss_factor=0.5),
    ),
    train_cfg=dict(assigner=dict(type='GaussianAssigner', sigma=2.0)),
    test_cfg=dict(
        threshold=0.1,
        kernel=5,
        limit=30,
        refinement='quarter',
        center_shift=0.5,
        tag_thr=1.0,
        order=(0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16),
        max_persons=30,
    ),
)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=300, by_epoch=True, milestones=[200, 260], gamma=0.1),
]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1.5e-3))
default_hooks = dict(checkpoint=dict(interval=10, save_best='coco/keypoints_mAP', rule='greater'))
auto_scale_lr = dict(enable=False, base_batch_size=192)
