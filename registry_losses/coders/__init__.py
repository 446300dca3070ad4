"""Box coders: between boxes and what a head predicts."""

from .base import BaseBBoxCoder
from .center_net_bbox_coder import CenterNetBBoxCoder
from .corner_bbox_coder import CornerBBoxCoder
from .delta_xywh_bbox_coder import DeltaXYWHBBoxCoder
from .distance_coders import DistancePointBBoxCoder, TBLRBBoxCoder
from .mmyolo_coders import YOLOv5BBoxCoder, YOLOXBBoxCoder
from .yolo_bbox_coders import YOLOBBoxCoder, YOLOV1BBoxCoder, YOLOV5BBoxCoder

__all__ = [
    'BaseBBoxCoder',
    'CenterNetBBoxCoder',
    'CornerBBoxCoder',
    'DeltaXYWHBBoxCoder',
    'DistancePointBBoxCoder',
    'TBLRBBoxCoder',
    'YOLOBBoxCoder',
    'YOLOV1BBoxCoder',
    'YOLOV5BBoxCoder',
    'YOLOXBBoxCoder',
    'YOLOv5BBoxCoder',
]
