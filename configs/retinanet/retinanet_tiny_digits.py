# RetinaNet on handwritten digits: minutes on a CPU.
_base_ = [
    '../_base_/models/retinanet_tiny.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_tiny.py',
    '../_base_/default_runtime.py',
]

default_hooks = dict(
    checkpoint=dict(interval=500, by_epoch=False, save_best='coco/bbox_mAP', rule='greater')
)
log_processor = dict(by_epoch=False)
