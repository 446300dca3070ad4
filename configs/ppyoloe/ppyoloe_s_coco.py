# PP-YOLOE's head on COCO with the recipe of its paper: 300 epochs, batch 64 (8
# processes of 8), SGD 0.01 with momentum 0.9, five epochs of warm-up, a cosine that would end
# at epoch 360, ATSS for 100 epochs, 320 to 768 pixels, averaged weights.
# Different here:
# * CSPNeXt-s and its neck stand in the place of CSPRepResNet;
# * weights start at random, not from ImageNet.
_base_ = [
    '../_base_/models/ppyoloe_s.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_300e.py',
]

_size = (640, 640)
_epochs = 300

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PhotoMetricDistortion'),
    dict(type='Expand', mean=(103.53, 116.28, 123.675), ratio_range=(1, 4)),
    dict(type='MinIoURandomCrop', min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
    dict(type='Resize', scale=_size, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=_size, keep_ratio=False),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    # All images get one size: shapes need not be sorted.
    batch_sampler=None,
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=5),
    dict(type='CosineAnnealingLR', T_max=355, begin=5, end=_epochs, by_epoch=True),
]
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=64)

custom_hooks = [dict(_base_.custom_hooks[0], momentum=0.0002)]
