"""Small instances of the backbones."""

from registry_losses.backbones import (
    CSPDarknet,
    CSPNeXt,
    HRNet,
    ResNet,
    TinyNet,
    YOLOV1Darknet,
    YOLOv4CSPDarknet,
    YOLOv5CSPDarknet,
    hrnet_extra,
)

# name: builder of a small instance; keyword arguments are passed on.
SMALL = {
    'resnet18': lambda **k: ResNet(18, base_channels=8, **k),
    'resnet50': lambda **k: ResNet(50, base_channels=8, **k),
    'resnet50_caffe': lambda **k: ResNet(50, base_channels=8, style='caffe', **k),
    'tiny': lambda **k: TinyNet(widths=(8, 16, 24, 32), depths=(1, 2, 0, 1), **k),
    'yolov1': lambda **k: YOLOV1Darknet(widen_factor=1 / 16, out_indices=(3, 4, 5), **k),
    'yolov4': lambda **k: YOLOv4CSPDarknet(deepen_factor=0.25, widen_factor=0.25, **k),
    'yolov5': lambda **k: YOLOv5CSPDarknet(deepen_factor=0.33, widen_factor=0.25, **k),
    'yolov5_p6': lambda **k: YOLOv5CSPDarknet(
        'P6', deepen_factor=0.33, widen_factor=0.25, out_indices=(2, 3, 4, 5), **k
    ),
    'yolox': lambda **k: CSPDarknet(deepen_factor=0.33, widen_factor=0.125, **k),
    'rtmdet': lambda **k: CSPNeXt(deepen_factor=0.33, widen_factor=0.125, **k),
    'hrnet': lambda **k: HRNet(hrnet_extra(8), **k),
}
