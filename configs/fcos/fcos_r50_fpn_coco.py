# FCOS with the recipe of its paper (section 4: 90,000 steps of 16 images are 12 epochs, SGD
# 0.01) and, where the paper is silent, of its authors' code in mmdet's form
# (fcos_r50-caffe_fpn_gn-head_1x_coco): biases learn twice as fast and do not decay, and
# 500 steps at a third of the rate come first. Batch 16 is 8 processes of 2.
_base_ = [
    '../_base_/models/fcos_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

param_scheduler = [
    dict(type='ConstantLR', factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
