# SSD300 on PASCAL VOC as its paper matches (section 2.2: bipartite, then IoU over 0.5) and as
# the training script it came with trains: 120,000 steps of 32 images, SGD 0.001, ten times
# less after 80,000 and 100,000; biases learn twice as fast and do not decay.
_base_ = ['./ssd300_vgg16_voc.py']

model = dict(train_cfg=dict(assigner=dict(_delete_=True, type='SSDAssigner', pos_iou_thr=0.5)))

train_dataloader = dict(batch_size=32)
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=120000, val_interval=10000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        begin=0,
        end=120000,
        by_epoch=False,
        milestones=[80000, 100000],
        gamma=0.1,
    ),
]
optim_wrapper = dict(
    optimizer=dict(lr=0.001), paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0)
)
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10000))
log_processor = dict(by_epoch=False)
