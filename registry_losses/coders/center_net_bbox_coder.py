"""CenterNet's code: offset within the cell and size, both in cells."""

import torch
from torch import Tensor

from ..ops import clip_boxes
from ..registry import TASK_UTILS
from .base import (
    INF,
    BaseBBoxCoder,
    MaxShape,
    Stride,
    center_and_size,
    full_precision,
    stride_pairs,
)


@TASK_UTILS.register_module()
class CenterNetBBoxCoder(BaseBBoxCoder):
    """Offset of the centre and size of the box, in cells.

    ``(o_x, o_y) = c / stride - floor(c / stride)`` and ``(w, h) / stride``. Zhou et al.,
    Objects as Points, arXiv:1904.07850, sections 3 and 4.

    The output is free, so every box with sides that are not negative is reachable, from
    cells other than the centre's as well (an offset below 0 or beyond 1).

    Args:
        point_offset: The ``offset`` of the point generator: where in its cell a prior
            lies, in strides. The offset is measured from the cell's corner.
        clip_border: Clip decoded boxes to ``max_shape``.
        use_box_type: See :class:`BaseBBoxCoder`.
    """

    reference = 'centers'

    def __init__(
        self, point_offset: float = 0.0, clip_border: bool = True, use_box_type: bool = False
    ) -> None:
        super().__init__(use_box_type)
        self.point_offset = point_offset
        self.clip_border = clip_border

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Sides that are not negative."""
        return (-INF, -INF, 0.0, 0.0), (INF,) * 4

    def encode_exact(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K, 4)`` offset x, y, width, height."""
        points = full_precision(bboxes)
        center, size = center_and_size(full_precision(gt_bboxes))
        scale = stride_pairs(stride, points, type(self).__name__)
        offset = (center - points) / scale + self.point_offset
        return torch.cat((offset, size / scale), dim=-1)

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        max_shape: MaxShape = None,
        *,
        stride: Stride = None,
    ) -> Tensor:
        """See :meth:`BaseBBoxCoder.decode`."""
        points, encoded = full_precision(bboxes), full_precision(pred_bboxes)
        scale = stride_pairs(stride, points, type(self).__name__)
        center = points + (encoded[..., :2] - self.point_offset) * scale
        half = encoded[..., 2:] * scale * 0.5
        boxes = torch.cat((center - half, center + half), dim=-1)
        return clip_boxes(boxes, max_shape) if self.clip_border else boxes
