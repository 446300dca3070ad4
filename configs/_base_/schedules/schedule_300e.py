# 300 epochs with averaged weights, as the recipes of YOLOv5, YOLOX, RTMDet and PP-YOLOE have in
# common: no decay of norms and biases, the best of the evaluations every 10 epochs kept.
_base_ = ['./schedule_1x.py', '../default_runtime.py']

train_cfg = dict(max_epochs=300, val_interval=10)
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0))
default_hooks = dict(checkpoint=dict(interval=10, save_best='coco/bbox_mAP', rule='greater'))
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0001,
        update_buffers=True,
        strict_load=False,
        priority=49,
    ),
]
