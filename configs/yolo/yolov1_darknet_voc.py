# YOLOv1 on PASCAL VOC 2007 and 2012 with the recipe of its paper (section 2.2): 135 epochs,
# batch 64, SGD 0.01 with momentum 0.9 and decay 0.0005, raised slowly from 0.001, ten times
# less after 75 and after 105 epochs; dropout 0.5; scales and shifts of up to 20 %, exposure
# and saturation. Tested on VOC 2007.
# Different here:
# * no pretraining: no ImageNet weights of this backbone are published in a form that loads
#   here, so expect less than the paper's 63.4 mAP;
# * batch norm in the backbone, which training from random weights needs;
# * exposure and saturation are multiplied by 0.5 to 1.5 (released: 1 to 1.5, or 1 over it).
_base_ = [
    '../_base_/models/yolov1_darknet.py',
    '../_base_/datasets/voc0712.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

_size = (448, 448)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomAffine',
        max_rotate_degree=0.0,
        max_shear_degree=0.0,
        max_translate_ratio=0.2,
        scaling_ratio_range=(0.8, 1.2),
        border_val=(128, 128, 128),
    ),
    dict(type='Resize', scale=_size, keep_ratio=False),
    dict(type='HSVJitter', hue_delta=0.0, saturation_delta=0.5, value_delta=0.5),
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
    batch_size=64,
    num_workers=8,
    # All images get one size: shapes need not be sorted.
    batch_sampler=None,
    dataset=dict(
        datasets=[
            dict(part, pipeline=train_pipeline) for part in _base_.train_dataloader.dataset.datasets
        ]
    ),
)
val_dataloader = dict(batch_size=16, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=135, val_interval=5)
param_scheduler = [
    # About four epochs of 16,551 images.
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=135, by_epoch=True, milestones=[75, 105], gamma=0.1),
]
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.9, weight_decay=0.0005))
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(checkpoint=dict(interval=5))
