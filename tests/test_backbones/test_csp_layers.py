"""The layers that the CSP Darknets share: norms, scaled widths, pooled maps."""

import pytest
import torch
from backbone_table import SMALL
from torch import nn

from registry_losses.backbones.csp_layers import make_divisible, make_round, pool_pyramid


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
