# RTMDet-tiny on COCO with the recipe of its paper (section 3.3), in mmdet's form
# (rtmdet_tiny_8xb32-300e_coco): 300 epochs, batch 256 (8 processes of 32), AdamW 0.004, 1,000
# steps of warm-up, cosine from the middle, mosaic and mixup with images seen before
# until the last 20 epochs, averaged weights.
# Different here:
# * images are scaled by the random affine after the mosaic (there: resized, then cropped);
# * batch norm is not synchronised unless sync_bn='torch' is set.
_base_ = [
    '../_base_/models/rtmdet_t.py',
    '../_base_/datasets/coco_mosaic.py',
    '../_base_/schedules/schedule_300e.py',
]

_size = (640, 640)
_epochs = 300
_last = 20

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='CachedMosaic',
        img_scale=_size,
        pad_val=114.0,
        max_cached_images=20,
        random_pop=False,
    ),
    dict(
        type='RandomAffine',
        max_rotate_degree=0.0,
        max_shear_degree=0.0,
        max_translate_ratio=0.1,
        scaling_ratio_range=(0.5, 2.0),
        # The mosaic is twice as large on each side; the middle remains.
        border=(-_size[0] // 2, -_size[1] // 2),
        border_val=(114, 114, 114),
    ),
    dict(
        type='CachedMixUp',
        img_scale=_size,
        ratio_range=(1.0, 1.0),
        pad_val=114.0,
        prob=0.5,
        max_cached_images=10,
        random_pop=False,
    ),
    dict(type='HSVJitter', hue_delta=0.015, saturation_delta=0.7, value_delta=0.4),
    dict(type='RandomFlip', prob=0.5),
    # Nothing to do but for the last epochs, whose images come as they are.
    dict(type='LetterResize', scale=_size, pad_val=114),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(batch_size=32, num_workers=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=32)
test_dataloader = val_dataloader

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-5, by_epoch=False, begin=0, end=1000),
    dict(
        type='CosineAnnealingLR',
        eta_min=0.0002,
        begin=_epochs // 2,
        end=_epochs,
        by_epoch=True,
    ),
]
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=0.004, weight_decay=0.05))
auto_scale_lr = dict(base_batch_size=256)

custom_hooks = [
    dict(type='YOLOXModeSwitchHook', num_last_epochs=_last, priority=48),
    dict(_base_.custom_hooks[0], momentum=0.0002),
]
