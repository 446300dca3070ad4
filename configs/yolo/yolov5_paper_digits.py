# YOLOv5, which has no paper, on handwritten digits as first released (v1 to v5): boxes by GIoU,
# which objectness learns as well. The config beside it follows release 6 with CIoU.
_base_ = ['./yolov5_tiny_digits.py']

model = dict(bbox_head=dict(loss_bbox=dict(iou_mode='giou'), obj_target='giou'))
