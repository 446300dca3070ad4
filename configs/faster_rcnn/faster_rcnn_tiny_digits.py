# Faster R-CNN on handwritten digits: minutes on a CPU.
_base_ = ['../_base_/models/faster_rcnn_tiny.py', '../_base_/tiny_digits.py']

# It learns in fewer steps than the dense heads, of which each takes longer.
_max_iters = 3000
_warmup = 300

train_cfg = dict(max_iters=_max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=_warmup),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=_warmup,
        end=_max_iters,
        T_max=_max_iters - _warmup,
        eta_min_ratio=0.01,
    ),
]
# Layers without a norm take smaller steps.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(roi_head=dict(lr_mult=0.5))))
