# YOLOv4 on COCO with the recipe of darknet's yolov4.cfg: 500,500 steps of 64 images, SGD
# 0.0013 with momentum 0.949 and decay 0.0005, ten times less after 400,000 and 450,000
# steps, 1,000 steps of burn-in, 608 pixels and other sizes around it, mosaic, CIoU, grid
# sensitivity, Mish. 64 images are 4 steps of 16 in one process.
# Different here:
# * the burn-in is linear (darknet: the fourth power of the step);
# * the neck is the one of Scaled-YOLOv4 (the paper's PAN without CSP is not built);
# * one anchor a gt, the best by shape; darknet adds the others above an IoU of 0.213;
# * darknet's jitter of the crop is a random affine map of the mosaic;
# * neither DropBlock, nor CmBN, nor self-adversarial training;
# * no pretraining: no ImageNet weights of this backbone are published in a form that loads here.
_base_ = [
    '../_base_/models/yolov4_csp.py',
    '../_base_/datasets/coco_mosaic.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

_size = (608, 608)
_updates = 4
_max_iters = 500500 * _updates

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
        # The mosaic is twice as large on each side; the middle remains.
        border=(-_size[0] // 2, -_size[1] // 2),
        border_val=(114, 114, 114),
    ),
    # The paper tried mixup as well and left it out. To have it, give YOLOv5MixUp the two
    # transforms above as pre_transform (after loading), and put it here.
    dict(type='HSVJitter', hue_delta=0.1, saturation_delta=0.5, value_delta=0.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(step, scale=_size) if step['type'] == 'LetterResize' else step
    for step in _base_.test_pipeline
]

train_dataloader = dict(batch_size=16, num_workers=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=16, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=_max_iters, val_interval=10000 * _updates
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, begin=0, end=1000 * _updates),
    dict(
        type='MultiStepLR',
        begin=0,
        end=_max_iters,
        by_epoch=False,
        milestones=[400000 * _updates, 450000 * _updates],
        gamma=0.1,
    ),
]
optim_wrapper = dict(
    accumulative_counts=_updates,
    optimizer=dict(lr=0.0013, momentum=0.949, weight_decay=0.0005),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
auto_scale_lr = dict(base_batch_size=16)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10000 * _updates))
log_processor = dict(by_epoch=False)
