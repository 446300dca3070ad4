"""Two sets of boxes, and the terms of which every measure of overlap is made.

Terms broadcast: ``(..., 4)`` and ``(..., 4)`` give ``(...)``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ShapeError
from .lazy import lazy


@dataclass(frozen=True, eq=False)
class BoxPair:
    """Two sets of boxes that broadcast, and the terms that the measures share.

    A term is worked out when first read, then kept.

    Args:
        first: ``(..., 4)`` xyxy.
        second: ``(..., 4)`` xyxy.

    Example:
        >>> import torch
        >>> pair = BoxPair(torch.tensor([0., 0., 4., 2.]), torch.tensor([2., 0., 6., 2.]))
        >>> pair.overlap.item(), pair.union.item(), pair.enclosing_size[0].item()
        (4.0, 12.0, 6.0)
    """

    first: Tensor
    second: Tensor

    def __post_init__(self) -> None:
        for name in ('first', 'second'):
            boxes = getattr(self, name)
            if boxes.dim() == 0 or boxes.shape[-1] != 4:
                raise ShapeError(f'{name} boxes: expected (..., 4), got {tuple(boxes.shape)}')
            if boxes.dtype != torch.float64:
                object.__setattr__(self, name, boxes.float())

    @lazy
    def corners(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """x1, y1, x2, y2 of the first and of the second box."""
        return self.first.unbind(-1), self.second.unbind(-1)

    @lazy
    def sizes(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Widths and heights: w1, h1, w2, h2."""
        (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = self.corners
        return (
            non_negative(ax2 - ax1),
            non_negative(ay2 - ay1),
            non_negative(bx2 - bx1),
            non_negative(by2 - by1),
        )

    @lazy
    def areas(self) -> tuple[Tensor, Tensor]:
        """Area of the first and of the second box."""
        w1, h1, w2, h2 = self.sizes
        return w1 * h1, w2 * h2

    @lazy
    def overlap(self) -> Tensor:
        """Area of the intersection."""
        (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = self.corners
        width = torch.min(ax2, bx2) - torch.max(ax1, bx1)
        height = torch.min(ay2, by2) - torch.max(ay1, by1)
        return non_negative(width) * non_negative(height)

    @lazy
    def union(self) -> Tensor:
        """Area of the union; it may be 0."""
        area1, area2 = self.areas
        return area1 + area2 - self.overlap

    @lazy
    def enclosing_size(self) -> tuple[Tensor, Tensor]:
        """Width and height of the smallest box around both."""
        (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = self.corners
        width = torch.max(ax2, bx2) - torch.min(ax1, bx1)
        height = torch.max(ay2, by2) - torch.min(ay1, by1)
        return non_negative(width), non_negative(height)

    @lazy
    def center_offset(self) -> tuple[Tensor, Tensor]:
        """dx, dy from the first centre to the second."""
        (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = self.corners
        return ((bx1 + bx2) - (ax1 + ax2)) / 2, ((by1 + by2) - (ay1 + ay2)) / 2

    def iou(self, eps: float = 1e-6) -> Tensor:
        """``overlap / (union + eps)``, the form in the distance based measures."""
        return self.overlap / (self.union + eps)

    def center_penalty(self, eps: float = 1e-6) -> Tensor:
        """Squared centre distance over the squared diagonal of the enclosing box."""
        dx, dy = self.center_offset
        width, height = self.enclosing_size
        distance = dx * dx + dy * dy
        return distance / (at_least(width * width + height * height, distance) + eps)


def non_negative(side: Tensor) -> Tensor:
    """The larger of a side and 0; boxes that touch have a gradient, which draws them together.

    So has ``clamp`` up to PyTorch 2.13; from 2.14 on its gradient at its bound is 0.
    """
    return torch.where(side < 0, 0, side) if side.requires_grad else side.clamp(min=0)


def at_least(whole: Tensor, part: Tensor) -> Tensor:
    """``whole``, or ``part`` where an inverted box makes that the larger.

    Of boxes that are not inverted the enclosing box holds the rest, and a quotient by it
    is at most 1. Otherwise it may be empty, and the quotient or its gradient overflow.
    Not ``torch.max``, which would halve the gradient of equals.
    """
    return torch.where(whole < part, part, whole)
