"""YOLOv3's neck: deep to shallow."""

import pytest
import torch

from registry_losses.necks import (
    FPN,
    YOLOXPAFPN,
    CSPNeXtPAFPN,
    CTResNetNeck,
    SSDNeck,
    YOLOV3Neck,
    YOLOv4CSPPAN,
    YOLOv5PAFPN,
)


def pyramid(widths, size=(40, 56), batch=2):
    """Random maps, sizes halved and rounded up from level to level."""
    torch.manual_seed(0)
    maps = []
    for width in widths:
        maps.append(torch.randn(batch, width, *size))
        size = tuple(-(-s // 2) for s in size)
    return maps


NECKS = {
    'FPN': FPN([8, 16, 32], 8, num_outs=4),
    'SSDNeck': SSDNeck((8, 16), (8, 16, 8), level_strides=(2,), level_paddings=(1,)),
    'YOLOV3Neck': YOLOV3Neck(3, [32, 16, 8], [16, 8, 4]),
    'YOLOv4CSPPAN': YOLOv4CSPPAN([16, 32, 64], num_csp_blocks=1),
    'YOLOv5PAFPN': YOLOv5PAFPN([16, 32, 64], num_csp_blocks=1),
    'YOLOXPAFPN': YOLOXPAFPN([16, 32, 64], 16, num_csp_blocks=1),
    'CSPNeXtPAFPN': CSPNeXtPAFPN([16, 32, 64], 16, num_csp_blocks=1),
    'CTResNetNeck': CTResNetNeck(16, (8, 8), (4, 4)),
}


@pytest.mark.parametrize('size', [(40, 56), (37, 51)])
def test_yolov3_neck_goes_from_deep_to_shallow(size):
    maps = pyramid([8, 16, 32], size)
    outs = NECKS['YOLOV3Neck'](maps)
    expected = [(w, *m.shape[2:]) for w, m in zip([16, 8, 4], maps[::-1], strict=True)]
    assert [tuple(o.shape[1:]) for o in outs] == expected


def test_yolov3_neck_deepest_output_ignores_the_finer_maps():
    neck = NECKS['YOLOV3Neck'].eval()
    maps = pyramid([8, 16, 32])
    changed = [maps[0] + 1, maps[1], maps[2]]
    before, after = neck(maps), neck(changed)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])
    assert not torch.allclose(before[2], after[2])
