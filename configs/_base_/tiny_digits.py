# A system on handwritten digits, on a CPU: the data, the schedule, the runtime.
_base_ = [
    './datasets/digits_detection.py',
    './schedules/schedule_tiny.py',
    './default_runtime.py',
]

default_hooks = dict(
    checkpoint=dict(interval=500, by_epoch=False, save_best='coco/bbox_mAP', rule='greater')
)
log_processor = dict(by_epoch=False)
