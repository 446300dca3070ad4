"""The coders of MMYOLO's names by its calls: strides third, by position."""

import pytest
import torch

from registry_losses.coders import (
    DistancePointBBoxCoder,
    YOLOV5BBoxCoder,
    YOLOv5BBoxCoder,
    YOLOXBBoxCoder,
)
from registry_losses.errors import ShapeError
from registry_losses.registry import TASK_UTILS


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_yolov5():
    """By position the values are raw, by name activated; worked out from the formula."""
    coder = TASK_UTILS.build(dict(type='YOLOv5BBoxCoder'))
    assert type(coder) is YOLOv5BBoxCoder
    low = rand(1, 6, 2) * 50
    priors = torch.cat((low, low + 4 + rand(1, 6, 2, seed=1) * 20), dim=-1)
    raw, stride = rand(2, 6, 4, seed=2) * 4 - 2, torch.tensor([8.0, 8, 8, 16, 16, 32])
    e = raw.sigmoid()
    center = (priors[..., :2] + priors[..., 2:]) / 2 + (2 * e[..., :2] - 1) * stride[:, None]
    half = (priors[..., 2:] - priors[..., :2]) * (2 * e[..., 2:]) ** 2 / 2
    expected = torch.cat((center - half, center + half), dim=-1)
    torch.testing.assert_close(coder.decode(priors, raw, stride), expected)
    torch.testing.assert_close(coder.decode(priors, e, stride=stride), expected)
    plain = YOLOV5BBoxCoder().decode(priors, e, stride=stride)
    torch.testing.assert_close(plain, expected)


def test_yolox():
    points, stride = rand(6, 2) * 50, torch.tensor([8.0, 8, 8, 16, 16, 32])
    encoded = rand(2, 6, 4, seed=1) * 2 - 1
    coder = YOLOXBBoxCoder()
    boxes = coder.decode(points, encoded, stride)
    center = points + encoded[..., :2] * stride[:, None]
    size = encoded[..., 2:].exp() * stride[:, None]
    torch.testing.assert_close((boxes[..., :2] + boxes[..., 2:]) / 2, center)
    torch.testing.assert_close(boxes[..., 2:] - boxes[..., :2], size)
    again = coder.encode(points, boxes[0], stride=stride)
    torch.testing.assert_close(again, encoded[0], atol=1e-5, rtol=1e-5)
    flat = coder.encode(points[:1], torch.tensor([[3.0, 3, 3, 3]]), stride=8.0)
    assert torch.isfinite(flat).all()


def test_distances():
    """A tensor of one number a point is the strides; a size still clips."""
    points, stride = rand(6, 2) * 50, torch.tensor([8.0, 8, 8, 16, 16, 32])
    distances = rand(2, 6, 4, seed=1) * 3
    coder = DistancePointBBoxCoder()
    pixels = distances * stride[:, None]
    expected = coder.decode(points, pixels)
    torch.testing.assert_close(coder.decode(points, distances, stride), expected)
    clipped = coder.decode(points, pixels, (20, 30))
    assert clipped[..., 3].max() <= 20 and clipped[..., 2].max() <= 30
    torch.testing.assert_close(coder.decode(points, pixels, torch.tensor([20, 30])), clipped)
    by_stride = DistancePointBBoxCoder(normalize_by_stride=True)
    torch.testing.assert_close(by_stride.decode(points, distances, stride=stride), expected)
    with pytest.raises(ShapeError, match='by name'):
        coder.decode(points[:2], distances[0, :2], stride[:2])
