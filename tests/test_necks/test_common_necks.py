"""All necks: gradients, sizes, widths, errors."""

import pytest
import torch
from neck_table import NECKS, pyramid

from registry_losses.errors import ConfigError, ShapeError
from registry_losses.necks import CTResNetNeck, SSDNeck, YOLOV3Neck, YOLOv4CSPPAN, YOLOv5PAFPN

WIDTHS = {
    'FPN': [8, 16, 32],
    'SSDNeck': [8, 16],
    'YOLOV3Neck': [8, 16, 32],
    'YOLOv4CSPPAN': [16, 32, 64],
    'YOLOv5PAFPN': [16, 32, 64],
    'YOLOXPAFPN': [16, 32, 64],
    'CSPNeXtPAFPN': [16, 32, 64],
    'CTResNetNeck': [8, 16],
}


@pytest.mark.parametrize('name', NECKS)
def test_every_parameter_learns(name):
    neck = NECKS[name].train()
    neck.zero_grad()
    outs = neck(pyramid(WIDTHS[name], (24, 40)))
    sum((out * torch.randn_like(out)).sum() for out in outs).backward()
    assert [n for n, p in neck.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize('name', NECKS)
def test_a_wrong_width_names_in_channels(name):
    widths = [w + 1 for w in WIDTHS[name]]
    with pytest.raises(ShapeError, match='in_channels'):
        NECKS[name](pyramid(widths))


@pytest.mark.parametrize('name', ['YOLOv4CSPPAN', 'YOLOv5PAFPN'])
@pytest.mark.parametrize('size', [(40, 56), (37, 51)])
def test_pan_keeps_sizes_and_widths(name, size):
    maps = pyramid(WIDTHS[name], size)
    assert [o.shape for o in NECKS[name](maps)] == [m.shape for m in maps]


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: CTResNetNeck(6, (4, 4), (4,)), 'num_deconv_filters, num_deconv_kernels'),
        (lambda: CTResNetNeck(6, (4,), (5,)), 'num_deconv_kernels: expected 2, 3 or 4'),
        (lambda: YOLOV3Neck(3, [32, 16], [16, 8, 4]), 'num_scales = 3'),
        (lambda: YOLOv5PAFPN([16]), 'at least two levels'),
        (lambda: YOLOv4CSPPAN([16]), 'at least two levels'),
        (lambda: YOLOv5PAFPN([16, 32], [16, 16]), 'out_channels: this neck keeps the widths'),
        (lambda: SSDNeck((8, 16), (8, 8, 8)), 'out_channels: expected to start with'),
        (lambda: SSDNeck((8, 16), (8, 16, 8)), r'level_strides, level_paddings: .* the 1 extra'),
    ],
)
def test_wrong_options_say_what_was_expected(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
