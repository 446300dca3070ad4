"""The layers that the CSP Darknets share: norms, scaled widths, pooled maps."""

import pytest
import torch
from torch import nn

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
from registry_losses.backbones.csp_layers import make_divisible, make_round, pool_pyramid

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


def test_yolo_v4_and_v5_use_ultralytics_batch_norm():
    for model in (SMALL['yolov4'](), SMALL['yolov5']()):
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert {(m.eps, m.momentum) for m in norms} == {(0.001, 0.03)}
    assert any(isinstance(m, nn.Mish) for m in SMALL['yolov4']().modules())
    assert any(isinstance(m, nn.SiLU) for m in SMALL['yolov5']().modules())


def test_widths_and_depths_scale_as_ultralytics():
    assert [make_divisible(c, 0.25) for c in (64, 100, 1024)] == [16, 32, 256]
    assert make_divisible(64, 0.3) == 24
    assert [make_round(n, 0.33) for n in (0, 1, 3, 6, 9)] == [0, 1, 1, 2, 3]
    assert make_round(3, 1.33) == 4


@pytest.mark.parametrize('sizes', [(5, 9, 13), (3, 5, 13)])
def test_pool_pyramid_equals_separate_pools(sizes):
    x = torch.randn(2, 3, 11, 17)
    pools = [nn.MaxPool2d(k, stride=1, padding=k // 2)(x) for k in sizes]
    torch.testing.assert_close(pool_pyramid(x, sizes), torch.cat([x, *pools], 1))
