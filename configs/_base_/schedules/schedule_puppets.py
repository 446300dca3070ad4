# Ten minutes of one CPU core: AdamW, a short warm-up, then a cosine to nothing.
_max_iters = 5000
_warmup = 300

train_cfg = dict(type='IterBasedTrainLoop', max_iters=_max_iters, val_interval=2500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=_warmup),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=_warmup,
        end=_max_iters,
        T_max=_max_iters - _warmup,
        eta_min=0,
    ),
]
# bfloat16 in the network, float32 in targets, losses and decoding.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.99), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
auto_scale_lr = dict(enable=False, base_batch_size=8)
