# YOLOX-s on COCO with the recipe of its paper (sections 2 and 2.1), in mmdet's form
# (yolox_s_8xb8-300e_coco): 300 epochs, batch 64 (8 processes of 8), nesterov SGD 0.01, five
# epochs of quadratic warm-up, cosine, mosaic, random affine and mixup until the last 15
# epochs, which add L1; 480 to 800 pixels, drawn anew every 10 steps; averaged weights.
# Different here:
# * the warm-up is a line, and the last epochs keep the least rate by the cosine itself.
_base_ = [
    '../_base_/models/yolox_s.py',
    '../_base_/datasets/coco_mosaic.py',
    '../_base_/schedules/schedule_300e.py',
]

_size = (640, 640)
_epochs = 300
_last = 15

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Mosaic', img_scale=_size, pad_val=114.0),
    dict(
        type='RandomAffine',
        scaling_ratio_range=(0.1, 2),
        # The mosaic is twice as large on each side; the middle remains.
        border=(-_size[0] // 2, -_size[1] // 2),
        border_val=(114, 114, 114),
    ),
    dict(type='MixUp', img_scale=_size, ratio_range=(0.8, 1.6), pad_val=114.0),
    dict(type='HSVJitter', hue_delta=0.015, saturation_delta=0.7, value_delta=0.4),
    dict(type='RandomFlip', prob=0.5),
    # Nothing to do but for the last epochs, whose images come as they are.
    dict(type='LetterResize', scale=_size, pad_val=114),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(batch_size=8, num_workers=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=8)
test_dataloader = val_dataloader

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=5),
    dict(type='CosineAnnealingLR', eta_min=0.0005, begin=5, end=_epochs - _last, by_epoch=True),
]
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
)
auto_scale_lr = dict(base_batch_size=64)

custom_hooks = [
    dict(type='YOLOXModeSwitchHook', num_last_epochs=_last, priority=48),
    *_base_.custom_hooks,
]
