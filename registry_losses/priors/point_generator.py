"""Points: one prior per cell, for heads without anchors."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Level, Priors, grid_points
from .base import BasePriorGenerator, Size


@TASK_UTILS.register_module()
class MlvlPointGenerator(BasePriorGenerator):
    """The points of several feature maps.

    A prior's box is a square of ``box_scale`` strides around the point, so that
    assigners that compare boxes work on heads of points as well.
    Tian et al., FCOS, ICCV 2019, section 3.1 (the points, ``offset`` 0.5); Zhang et al.,
    ATSS, CVPR 2020, section 3.1 (the square of 8 strides that stands for a point).

    Args:
        strides: Of each level, one number or (x, y).
        offset: Where in its cell a point lies, in strides.
        box_scale: Side of the square, in strides.
        num_base: A, equal priors per cell; more than one for YOLOv1, whose cell predicts
            several boxes.
        shared_classes: The priors of a cell share one class vector (YOLOv1).

    Raises:
        ConfigError: If a number is out of its range.

    Example:
        >>> priors = MlvlPointGenerator([8], box_scale=2)([(1, 2)])
        >>> priors.centers.tolist(), priors.boxes[1].tolist()
        ([[4.0, 4.0], [12.0, 4.0]], [4.0, -4.0, 20.0, 12.0])
    """

    def __init__(
        self,
        strides: Sequence[float | Sequence[float]],
        offset: float = 0.5,
        *,
        box_scale: float = 8.0,
        num_base: int = 1,
        shared_classes: bool = False,
    ) -> None:
        super().__init__(strides)
        if not 0 <= offset <= 1:
            raise ConfigError(f'offset: expected 0 to 1, got {offset}')
        if box_scale <= 0 or num_base < 1:
            raise ConfigError(
                f'expected box_scale > 0 and num_base >= 1, got {box_scale} and {num_base}'
            )
        self.offset = offset
        self.box_scale = box_scale
        self.num_base = num_base
        self.shared_classes = shared_classes

    @property
    def num_base_priors(self) -> list[int]:
        """A of each level."""
        return [self.num_base] * self.num_levels

    def level(self, index: int, size: Size) -> Level:
        """The grid of a feature map of ``size`` (height, width)."""
        stride = (float(self.strides[index][0]), float(self.strides[index][1]))
        side = (self.box_scale * stride[0], self.box_scale * stride[1])
        return Level(size[0], size[1], stride, (side,) * self.num_base, self.offset)

    def level_centers(self, index: int, size: Size, device: torch.device | str) -> Tensor:
        """``(n, 2)`` points of a level."""
        points = grid_points(self.level(index, size), device=device)
        return points.repeat_interleave(self.num_base, dim=0)

    def level_boxes(self, index: int, size: Size, device: torch.device | str) -> Tensor:
        """``(n, 4)`` float32 xyxy boxes of a level, ordered y, x, a."""
        points = self.level_centers(index, size, device)
        half = points.new_tensor(self.strides[index]) * (self.box_scale / 2)
        return torch.cat((points - half, points + half), dim=-1)

    def _lay(self, sizes: tuple[Size, ...], device: torch.device) -> Priors:
        priors = super()._lay(sizes, device)
        if not self.shared_classes:
            return priors
        cells = priors.num_priors // self.num_base
        rows = torch.arange(cells, device=device).repeat_interleave(self.num_base)
        return replace(priors, class_row=rows, num_class_rows=cells)

    def grid_priors(
        self,
        featmap_sizes: Sequence[Size],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
        with_stride: bool = False,
    ) -> list[Tensor]:
        """``(n, 2)`` points of each level, or ``(n, 4)`` x, y, stride x, stride y."""
        rows = []
        for index, size in enumerate(self._check_sizes(featmap_sizes)):
            points = self.level_centers(index, size, device).to(dtype)
            if with_stride:
                strides = points.new_tensor(self.strides[index]).expand_as(points)
                points = torch.cat((points, strides), dim=-1)
            rows.append(points)
        return rows
