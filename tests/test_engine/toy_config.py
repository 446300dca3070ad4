"""Twenty-four samples, batches of four, three epochs: trains in a second."""

default_scope = 'registry_losses'
custom_imports = dict(imports=['toy_project'])

model = dict(type='ToyModel')
loader = dict(batch_size=4, num_workers=0, dataset=dict(type='ToyDataset'))
train_dataloader = dict(
    sampler=dict(type='KeyedSampler'), collate_fn=dict(type='pseudo_collate'), **loader
)
val_dataloader = dict(sampler=dict(type='KeyedSampler', shuffle=False, infinite=False), **loader)
test_dataloader = val_dataloader
val_evaluator = dict(type='ToyMetric')
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=3)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=0.01), clip_grad=dict(max_norm=5.0), type='OptimWrapper'
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
    dict(type='MultiStepLR', by_epoch=True, milestones=[2]),
]
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=2),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='toy/mAP', rule='greater'
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [
    dict(type='EMAHook', momentum=0.1),
    dict(type='NonFiniteLossHook'),
    dict(type='ProgressHook'),
]
auto_scale_lr = dict(enable=False, base_batch_size=4)
randomness = dict(seed=3)
