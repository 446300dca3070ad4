"""Boxes: area, formats, clipping.

Boxes are ``(..., 4)`` xyxy in pixels unless a name says otherwise.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ShapeError
from .device import host_sync_is_free


def box_area(boxes: Tensor) -> Tensor:
    """Area in square pixels, ``(..., 4) -> (...)``; 0 for inverted boxes."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Corners to centre and size, ``(..., 4) -> (..., 4)``."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Centre and size to corners, ``(..., 4) -> (..., 4)``."""
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), dim=-1)


def clip_boxes(boxes: Tensor, max_shape: Sequence[int] | Tensor | None) -> Tensor:
    """Clip boxes to their image.

    Args:
        boxes: ``(..., 4)``; with a ``(B, 2)`` shape, ``(B, ..., 4)``.
        max_shape: ``(height, width)``, or one such pair an image as a ``(B, 2)`` tensor
            or a sequence of B pairs, or None to leave the boxes alone.

    Raises:
        ShapeError: If there are pairs for another number of images than boxes.
    """
    if max_shape is None:
        return boxes
    if not isinstance(max_shape, Tensor) and not isinstance(max_shape[0], (Sequence, Tensor)):
        height, width = float(max_shape[0]), float(max_shape[1])
        x1, y1, x2, y2 = boxes.unbind(-1)
        clipped = (x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height))
        return torch.stack(clipped, dim=-1)
    limit = torch.as_tensor(max_shape, dtype=boxes.dtype, device=boxes.device)[..., :2].flip(-1)
    if limit.dim() == 2:
        if boxes.dim() < 3 or boxes.shape[0] != limit.shape[0]:
            raise ShapeError(
                f'max_shape: {limit.shape[0]} images, but boxes are {tuple(boxes.shape)}; '
                'expected (B, ..., 4)'
            )
        limit = limit.reshape(limit.shape[0], *(1,) * (boxes.dim() - 2), 2)
    limit = torch.cat((limit, limit), dim=-1)
    return torch.minimum(boxes.clamp(min=0), limit)


def inside_margin(points: Tensor, boxes: Tensor) -> Tensor:
    """Distance from a point to the nearest side of a box, negative outside.

    Args:
        points: ``(..., 2)`` xy.
        boxes: ``(..., 4)`` xyxy, broadcast against the points.

    Returns:
        ``(...)`` pixels.
    """
    x, y = points.unbind(-1)
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.minimum(torch.minimum(x - x1, y - y1), torch.minimum(x2 - x, y2 - y))


def centers_inside(points: Tensor, boxes: Tensor, *, margin: float = 0) -> Tensor:
    """Whether a point lies more than ``margin`` pixels inside a box; ``(...)`` bool."""
    return inside_margin(points, boxes) > margin


def take_boxes(boxes: Tensor, index: Tensor) -> Tensor:
    """``(N, 4), (T,) -> (T, 4)``: ``boxes[index]``; points ``(N, 2)`` as well.

    A row of four float32 is moved as one number of 16 bytes, one of two as one of 8:
    ``index_select`` copies the rows of a matrix one by one, and takes three to four times
    as long.
    """
    columns = boxes.shape[1]
    wide_type = {2: torch.complex64, 4: torch.complex128}.get(columns)
    movable = boxes.dtype == torch.float32 and boxes.is_contiguous()
    if wide_type is None or not movable or boxes.storage_offset() % columns:
        return boxes.index_select(0, index)
    wide = boxes.detach().view(wide_type)[:, 0]
    return wide.index_select(0, index).view(torch.float32).view(-1, columns)


def corners_of(boxes: Tensor) -> Tensor:
    """``(N, 4) -> (5, N)``: x1, y1, x2, y2 and area, each contiguous."""
    corners = boxes.detach().float().t()
    size = (corners[2:] - corners[:2]).clamp_(min=0)
    return torch.cat((corners, (size[0] * size[1])[None]))


# Its square, and twice that, is still finite in float32.
_FAR_AWAY = 1e18


def hide_non_finite(boxes: Tensor) -> Tensor:
    """``(..., 4)``, where boxes that are not finite are points far outside every image.

    They overlap nothing and are far from everything.
    """
    if host_sync_is_free(boxes.device) and bool(torch.isfinite(boxes.sum())):
        return boxes
    total = boxes.sum(dim=-1, keepdim=True)
    return torch.where(torch.isfinite(total), boxes, _FAR_AWAY)
