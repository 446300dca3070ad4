# CenterNet on COCO with mmdet's recipe (centernet_r18_8xb16-crop512-140e_coco): 28 epochs of
# 5 rounds each, batch 128 (8 processes of 16), SGD 0.02. The paper's radius and optimizer:
# centernet_r18_paper_coco.py.
_base_ = [
    '../_base_/models/centernet_r18.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PhotoMetricDistortion'),
    dict(
        type='RandomCenterCropPad',
        crop_size=(512, 512),
        ratios=(0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
        border=128,
    ),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # The image keeps its size, and lies in the middle of the next larger multiple of 32.
    dict(
        type='RandomCenterCropPad',
        test_mode=True,
        test_pad_mode=('logical_or', 31),
        test_pad_add_pix=1,
    ),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    # All images get one size: shapes need not be sorted.
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        # Five rounds count as an epoch, so that workers and checkpoints are not renewed as often.
        type='RepeatDataset',
        times=5,
        dataset=dict(_base_.train_dataloader.dataset, pipeline=train_pipeline),
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=28)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=28, by_epoch=True, milestones=[18, 24], gamma=0.1),
]
optim_wrapper = dict(
    optimizer=dict(lr=0.02, momentum=0.9, weight_decay=0.0001),
    clip_grad=dict(max_norm=35, norm_type=2),
)
auto_scale_lr = dict(base_batch_size=128)
