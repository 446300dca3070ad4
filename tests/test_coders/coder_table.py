"""The coders that are tested, and boxes for them."""

import torch

from registry_losses.coders import (
    CenterNetBBoxCoder,
    DeltaXYWHBBoxCoder,
    DistancePointBBoxCoder,
    TBLRBBoxCoder,
    YOLOBBoxCoder,
    YOLOV1BBoxCoder,
    YOLOV5BBoxCoder,
    YOLOXBBoxCoder,
)

CODERS = {
    'delta': DeltaXYWHBBoxCoder(),
    'delta_stds': DeltaXYWHBBoxCoder((0.1, 0, -0.2, 0), (0.1, 0.1, 0.2, 0.2)),
    'delta_ctr': DeltaXYWHBBoxCoder(add_ctr_clamp=True, ctr_clamp=32),
    'distance': DistancePointBBoxCoder(),
    'distance_stride': DistancePointBBoxCoder(normalize_by_stride=True),
    'distance_exp': DistancePointBBoxCoder(normalize_by_stride=True, activation='exp'),
    'distance_bins': DistancePointBBoxCoder(normalize_by_stride=True, max_dis=16),
    'tblr': TBLRBBoxCoder(normalizer=(4.0, 4.0, 2.0, 1.0)),
    'yolox': YOLOXBBoxCoder(),
    'tblr_pixels': TBLRBBoxCoder(normalizer=3.0, normalize_by_wh=False),
    'yolo': YOLOBBoxCoder(),
    'yolo_wide': YOLOBBoxCoder(scale_x_y=1.2),
    'yolov5': YOLOV5BBoxCoder(),
    'yolov1': YOLOV1BBoxCoder((400, 448)),
    'yolov1_sigmoid': YOLOV1BBoxCoder((400, 448), activation='sigmoid'),
    'centernet': CenterNetBBoxCoder(),
    'centernet_half': CenterNetBBoxCoder(point_offset=0.5),
}


def make(x, y, w, h):
    return torch.tensor([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]])
