"""Anchors: A boxes of fixed sizes at every cell of every level."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Level
from .base import BasePriorGenerator, Size, pair


def anchors_around(
    base_size: float,
    scales: Sequence[float],
    ratios: Sequence[float],
    center: tuple[float, float],
    *,
    scale_major: bool = True,
) -> Tensor:
    """Boxes of every ratio and scale around a point.

    Width and height are ``base_size * scale / sqrt(ratio)`` and
    ``base_size * scale * sqrt(ratio)``: a ratio is height over width, and does not
    change the area.

    Args:
        base_size: Side at scale 1, in pixels.
        scales: Of the sides.
        ratios: Height over width.
        center: (x, y) pixels.
        scale_major: Scales change fastest; otherwise ratios do.

    Returns:
        ``(len(scales) * len(ratios), 4)`` float32 xyxy.
    """
    scale = torch.tensor(scales, dtype=torch.float32)
    height_ratio = torch.tensor(ratios, dtype=torch.float32).sqrt()
    width_ratio = 1 / height_ratio
    if scale_major:
        widths = (base_size * width_ratio[:, None] * scale).flatten()
        heights = (base_size * height_ratio[:, None] * scale).flatten()
    else:
        widths = (base_size * scale[:, None] * width_ratio).flatten()
        heights = (base_size * scale[:, None] * height_ratio).flatten()
    return boxes_around(center, widths, heights)


def boxes_around(center: tuple[float, float], widths: Tensor, heights: Tensor) -> Tensor:
    """``(n, 4)`` xyxy boxes of ``(n,)`` widths and heights around one point."""
    x, y = center
    corners = (x - 0.5 * widths, y - 0.5 * heights, x + 0.5 * widths, y + 0.5 * heights)
    return torch.stack(corners, dim=-1)


class BaseAnchorGenerator(BasePriorGenerator):
    """Moves the base anchors of each level over its grid.

    Args:
        strides: Of each level, one number or (x, y).
        centers: (x, y) pixels of the centre of the first cell's anchors, a level.
        base_anchors: ``(A, 4)`` float32 xyxy of the first cell, a level.

    Raises:
        ConfigError: If a centre lies at different shares of the stride in x and in y,
            which the description of a grid cannot hold.
    """

    def __init__(
        self,
        strides: Sequence[float | Sequence[float]],
        centers: Sequence[tuple[float, float]],
        base_anchors: Sequence[Tensor],
    ) -> None:
        super().__init__(strides)
        self.base_anchors: list[Tensor] = list(base_anchors)
        self.centers = [pair(center) for center in centers]
        for (x, y), (stride_x, stride_y) in zip(self.centers, self.strides):
            if not math.isclose(x / stride_x, y / stride_y, rel_tol=1e-6, abs_tol=1e-6):
                raise ConfigError(
                    f'centers: ({x}, {y}) is {x / stride_x:g} strides in x but '
                    f'{y / stride_y:g} in y; the two must agree'
                )

    @property
    def num_base_priors(self) -> list[int]:
        """A of each level."""
        return [len(anchors) for anchors in self.base_anchors]

    def level(self, index: int, size: Size) -> Level:
        """The grid of a feature map of ``size`` (height, width)."""
        sides = (self.base_anchors[index][:, 2:] - self.base_anchors[index][:, :2]).tolist()
        stride = self.strides[index]
        return Level(
            height=size[0],
            width=size[1],
            stride=(float(stride[0]), float(stride[1])),
            base_sizes=tuple((width, height) for width, height in sides),
            offset=self.centers[index][0] / stride[0],
        )

    def level_boxes(self, index: int, size: Size, device: torch.device | str) -> Tensor:
        """``(n, 4)`` float32 xyxy boxes of a level, ordered y, x, a."""
        height, width = size
        stride_x, stride_y = self.strides[index]
        xs = torch.arange(width, device=device, dtype=torch.float32) * stride_x
        ys = torch.arange(height, device=device, dtype=torch.float32) * stride_y
        xs, ys = xs.repeat(height), ys.repeat_interleave(width)
        shifts = torch.stack((xs, ys, xs, ys), dim=-1)
        # The addition, not centre and size, gives OpenMMLab's boxes bit for bit.
        return (shifts[:, None] + self.base_anchors[index].to(device)).reshape(-1, 4)


@TASK_UTILS.register_module()
class AnchorGenerator(BaseAnchorGenerator):
    """Anchors of every ratio and scale, as in Faster R-CNN and RetinaNet.

    Ren et al., Faster R-CNN, NeurIPS 2015, section 3.1.1 (``scales``); Lin et al., Focal
    Loss for Dense Object Detection, ICCV 2017, section 4 (``octave_base_scale`` times
    ``2^(i / scales_per_octave)``).

    Args:
        strides: Of each level, one number or (x, y).
        ratios: Height over width.
        scales: Sides at ratio 1, in base sizes; instead of the two octave arguments.
        base_sizes: Side of scale 1 at each level; the smaller stride by default.
        scale_major: Scales change fastest within a cell; otherwise ratios do.
        octave_base_scale: First scale of an octave.
        scales_per_octave: Scales in an octave.
        centers: (x, y) pixels of the first cell's centre, a level; instead of
            ``center_offset``.
        center_offset: Where in its cell an anchor is centred, in base sizes: 0 (the
            corner) as in OpenMMLab 2.x, or 0.5.

    Raises:
        ConfigError: If not exactly one way of giving scales is used, or numbers of
            levels differ.

    Example:
        >>> generator = AnchorGenerator([8, 16], ratios=[1.0], scales=[4])
        >>> generator([(2, 3), (1, 2)]).boxes[1].tolist()
        [-8.0, -16.0, 24.0, 16.0]
    """

    def __init__(
        self,
        strides: Sequence[float | Sequence[float]],
        ratios: Sequence[float],
        scales: Sequence[float] | None = None,
        base_sizes: Sequence[float] | None = None,
        scale_major: bool = True,
        octave_base_scale: float | None = None,
        scales_per_octave: int | None = None,
        centers: Sequence[tuple[float, float]] | None = None,
        center_offset: float = 0.0,
    ) -> None:
        octave = octave_base_scale is not None and scales_per_octave is not None
        if octave == (scales is not None):
            raise ConfigError(
                'AnchorGenerator: give either scales, or octave_base_scale and scales_per_octave'
            )
        if scales is None:
            assert octave_base_scale is not None and scales_per_octave is not None
            steps = range(scales_per_octave)
            scales = [2 ** (i / scales_per_octave) * octave_base_scale for i in steps]
        if not 0 <= center_offset <= 1:
            raise ConfigError(f'center_offset: expected 0 to 1, got {center_offset}')
        if centers is not None and center_offset:
            raise ConfigError('AnchorGenerator: give centers or center_offset, not both')
        if base_sizes is None:
            base_sizes = [min(pair(stride)) for stride in strides]
        if centers is None:
            centers = [(center_offset * size, center_offset * size) for size in base_sizes]
        for name, given in (('base_sizes', base_sizes), ('centers', centers)):
            if len(given) != len(strides):
                raise ConfigError(
                    f'{name}: expected {len(strides)} (one a stride), got {len(given)}'
                )
        anchors = [
            anchors_around(size, scales, ratios, pair(center), scale_major=scale_major)
            for size, center in zip(base_sizes, centers)
        ]
        super().__init__(strides, centers, anchors)


@TASK_UTILS.register_module()
class YOLOAnchorGenerator(BaseAnchorGenerator):
    """Anchors of given widths and heights at the centre of each cell (YOLOv2 to v5).

    Redmon & Farhadi, YOLOv3: An Incremental Improvement, arXiv:1804.02767, section 2.1.

    Args:
        strides: Of each level, one number or (x, y).
        base_sizes: (width, height) pixels of the anchors, a list a level.
        use_box_type: Accepted as in OpenMMLab; must be False, boxes are plain tensors.

    Raises:
        ConfigError: If the numbers of levels differ.
    """

    def __init__(
        self,
        strides: Sequence[float | Sequence[float]],
        base_sizes: Sequence[Sequence[tuple[float, float]]],
        use_box_type: bool = False,
    ) -> None:
        if use_box_type:
            raise ConfigError('use_box_type: boxes are plain tensors here; leave the key out')
        if len(base_sizes) != len(strides):
            raise ConfigError(
                f'base_sizes: expected {len(strides)} lists (one a stride), got {len(base_sizes)}'
            )
        centers = [(pair(stride)[0] / 2, pair(stride)[1] / 2) for stride in strides]
        anchors = []
        for sizes, center in zip(base_sizes, centers):
            widths, heights = torch.tensor(sizes, dtype=torch.float32).reshape(-1, 2).unbind(-1)
            anchors.append(boxes_around(center, widths, heights))
        super().__init__(strides, centers, anchors)
