# Faster R-CNN with FPN and the recipe of mmdet's faster-rcnn_r50_fpn_1x_coco: 12 epochs, batch
# 16 (8 processes of 2), SGD 0.02.
_base_ = [
    '../_base_/models/faster_rcnn_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
