# YOLOv5-s, which has no paper, on COCO as first released (v1 to v5): boxes by GIoU, which
# objectness learns as well. The rest is release 6.1.
_base_ = ['./yolov5_s_coco.py']

model = dict(bbox_head=dict(loss_bbox=dict(iou_mode='giou'), obj_target='giou'))
