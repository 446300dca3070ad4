# YOLOv5-s on COCO as released in 6.1, in MMYOLO's form (yolov5_s-v61_syncbn_fast_8xb16-300e_coco):
# 300 epochs, batch 128 (8 processes of 16), nesterov SGD 0.01 down to 0.0001 on a line, three
# epochs of warm-up for rate (biases: from 0.1 down) and momentum, mosaic, random affine, HSV,
# flip, averaged weights.
# Different here:
# * Albumentations' rare blur, grey and CLAHE are left out;
# * all test images are put on 640 x 640 (released: on the smallest canvas of their shape);
# * batch norm is not synchronised unless sync_bn='torch' is set.
_base_ = [
    '../_base_/models/yolov5_s.py',
    '../_base_/datasets/coco_mosaic.py',
    '../_base_/schedules/schedule_300e.py',
]

_size = (640, 640)
_epochs = 300
_steps_an_epoch = 118287 // 128
# The released code: never less than 1,000 steps.
_warmup = max(3 * _steps_an_epoch, 1000)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Mosaic', img_scale=_size, pad_val=114),
    dict(
        type='RandomAffine',
        max_rotate_degree=0.0,
        max_shear_degree=0.0,
        max_translate_ratio=0.1,
        scaling_ratio_range=(0.5, 1.5),
        max_aspect_ratio=100,
        # The mosaic is twice as large on each side; the middle remains.
        border=(-_size[0] // 2, -_size[1] // 2),
        border_val=(114, 114, 114),
    ),
    dict(type='HSVJitter', hue_delta=0.015, saturation_delta=0.7, value_delta=0.4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(batch_size=16, num_workers=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=16)
test_dataloader = val_dataloader

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=_warmup),
    dict(type='LinearMomentum', start_factor=0.8 / 0.937, by_epoch=False, begin=0, end=_warmup),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.01, by_epoch=True, begin=0, end=_epochs),
]
optim_wrapper = dict(
    optimizer=dict(
        # The decay of 0.0005 is for 64 images and grows with them.
        type='SGD',
        lr=0.01,
        momentum=0.937,
        weight_decay=0.0005 * 128 / 64,
        nesterov=True,
    ),
)
auto_scale_lr = dict(base_batch_size=128)

custom_hooks = [
    *_base_.custom_hooks,
    dict(type='BiasWarmupHook', num_iters=_warmup, start_lr=0.1),
]
