# TOOD with the recipe of its paper, in mmdet's form (tood_r50_fpn_1x_coco): 12 epochs,
# batch 16 (8 processes of 2), SGD 0.01, long side up to 1333 and short side 800; ATSS
# assigns in the first 4 epochs.
_base_ = [
    '../_base_/models/tood_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=0.01))
