"""Codes worked out by hand, coder by coder."""

import math

import pytest
import torch
from coder_table import CODERS, make

from registry_losses.coders import DistancePointBBoxCoder, YOLOBBoxCoder


def test_hand_computed_codes():
    prior, gt = make(100.0, 60, 32, 16), make(104.0, 56, 64, 4)
    points, stride = torch.tensor([[100.0, 60]]), torch.tensor([16.0])
    assert CODERS['delta'].encode(prior, gt).tolist()[0] == pytest.approx(
        [4 / 32, -4 / 16, math.log(2), math.log(1 / 4)]
    )
    assert CODERS['distance'].encode(points, gt).tolist() == [[28, 6, 36, -2]]
    assert CODERS['distance_stride'].encode(points, gt, stride=stride).tolist() == [
        [1.75, 0.375, 2.25, -0.125]
    ]
    assert CODERS['distance_exp'].encode(points, gt, stride=stride).tolist() == [
        [1.75, 0.375, 2.25, 0]
    ]
    assert CODERS['yolo'].encode(prior, gt, stride=stride).tolist()[0] == pytest.approx(
        [0.75, 0.25, math.log(2), math.log(1 / 4)]
    )
    assert CODERS['yolov5'].encode(prior, gt, stride=stride).tolist()[0] == pytest.approx(
        [0.625, 0.375, math.sqrt(2) / 2, 0.25]
    )
    assert CODERS['yolov1'].encode(points, gt, stride=stride).tolist()[0] == pytest.approx(
        [0.75, 0.25, math.sqrt(64 / 448), math.sqrt(4 / 400)]
    )
    # The centre (104, 56) lies in cell (6, 3) of stride 16, half way along both sides.
    corner = torch.tensor([[96.0, 48]])
    assert CODERS['centernet'].encode(corner, gt, stride=stride).tolist() == [[0.5, 0.5, 4, 0.25]]
    middle = torch.tensor([[104.0, 56]])
    assert CODERS['centernet_half'].encode(middle, gt, stride=stride).tolist() == [
        [0.5, 0.5, 4, 0.25]
    ]


def test_a_target_beyond_a_sigmoid_is_clamped_and_a_free_one_is_not():
    """An offset of 3 cells under a binary cross entropy would be a bug, not a target."""
    prior, gt, stride = make(100.0, 100, 32, 32), make(148.0, 100, 32, 32), torch.tensor([16.0])
    assert CODERS['yolo'].encode(prior, gt, stride=stride)[0, 0].item() == pytest.approx(
        1, abs=2e-6
    )
    assert CODERS['yolov5'].encode(prior, gt, stride=stride)[0, 0].item() == pytest.approx(
        1, abs=2e-6
    )
    assert CODERS['delta'].encode(prior, gt)[0, 0].item() == 1.5
    point = torch.tensor([[100.0, 100]])
    assert CODERS['centernet'].encode(point, gt, stride=stride)[0, 0].item() == 3


def test_a_head_may_say_that_its_distances_are_not_negative():
    point, gt = torch.tensor([[0.0, 0]]), torch.tensor([[4.0, -2, 9, 5]])
    free, confined = DistancePointBBoxCoder(), DistancePointBBoxCoder(nonnegative=True)
    assert free.encode(point, gt).tolist() == [[-4, 2, 9, 5]]
    assert confined.encode(point, gt).tolist() == [[0, 2, 9, 5]]
    assert not confined.reachable(point, gt).item()


def test_yolov4_widens_each_level_by_its_own_scale():
    """By hand: the sigmoid at 1 lies half a stride, times the scale, from the centre."""
    coder = YOLOBBoxCoder(scale_x_y=[(8, 1.2), (16, 1.1)])
    prior = make(100.0, 100, 32, 32).repeat(3, 1)
    stride = torch.tensor([8.0, 16, 32])
    encoded = torch.tensor([[1.0, 0.5, 0, 0]]).repeat(3, 1)
    decoded = coder.decode(prior, encoded, stride=stride)
    centres = (decoded[:, 0] + decoded[:, 2]) / 2
    torch.testing.assert_close(centres, torch.tensor([100 + 4 * 1.2, 100 + 8 * 1.1, 100 + 16]))
    torch.testing.assert_close(coder.encode(prior, decoded, stride=stride), encoded)
    for number in (8, 16, 32):
        row = coder.decode(prior[:1], encoded[:1], stride=number)
        one = coder.decode(prior[:1], encoded[:1], stride=torch.tensor([float(number)]))
        assert torch.equal(row, one)
