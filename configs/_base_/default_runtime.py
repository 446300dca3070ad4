# What every run shares. Checkpoints, log, curves and pictures go to the work directory.
# Whether checkpoints and log count epochs or iterations follows from train_cfg.
default_scope = 'registry_losses'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # Here by name, so that custom_hooks is free for your own: a list of hooks in a config
    # replaces the one it inherits. Without one: default_hooks=dict(report=None).
    guard=dict(type='NonFiniteLossHook'),
    progress=dict(type='ProgressHook'),
    report=dict(type='ReportHook'),
)

# TensorBoard: add dict(type='TensorboardVisBackend') to the list.
visualizer = dict(type='DetVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(type='LogProcessor', window_size=50)
log_level = 'INFO'

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
randomness = dict(seed=0, deterministic=False)
load_from = None
resume = False
