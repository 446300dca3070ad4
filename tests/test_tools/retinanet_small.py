"""RetinaNet on 24 digit images, six steps: the real pipeline, small enough for a test."""

_base_ = ['../../configs/retinanet/retinanet_tiny_digits.py']

_norm = dict(type='GN', num_groups=8)

model = dict(
    backbone=dict(widths=(16, 16, 32), depths=(1, 1, 1), norm_cfg=_norm),
    neck=dict(in_channels=[16, 16, 32], out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16, norm_cfg=_norm, norm_per_level=None),
)
_data = dict(num_train=24, num_val=6)
train_dataloader = dict(batch_size=4, dataset=_data)
val_dataloader = dict(batch_size=2, dataset=_data)
test_dataloader = dict(batch_size=2, dataset=_data)

train_cfg = dict(max_iters=6, val_interval=6)
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=6, T_max=6),
]
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=-1))
