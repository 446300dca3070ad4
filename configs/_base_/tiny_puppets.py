# Bottom-up pose on puppets, on a CPU: the data, the schedule, the runtime.
_base_ = [
    './datasets/puppets_pose.py',
    './schedules/schedule_puppets.py',
    './default_runtime.py',
]

default_hooks = dict(
    checkpoint=dict(interval=1000, by_epoch=False, save_best='coco/keypoints_mAP', rule='greater'),
    # A person's score is a mean over all of its joints, of OpenPose's over its limbs too.
    report=dict(score_thr=0.15),
)
log_processor = dict(by_epoch=False)
custom_hooks = [
    dict(type='PoseMapsHook'),
    dict(type='ChannelsLastHook'),
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.002,
        gamma=200,
        update_buffers=True,
        priority=49,
    ),
]
