"""YOLOv3's neck: deep to shallow."""

import pytest
import torch
from neck_table import NECKS, pyramid


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
