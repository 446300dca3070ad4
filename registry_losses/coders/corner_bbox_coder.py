"""Boxes as their two corners, in strides."""

import torch
from torch import Tensor

from ..ops import clip_boxes
from ..registry import TASK_UTILS
from .base import BaseBBoxCoder, MaxShape, Stride, full_precision, stride_pairs


@TASK_UTILS.register_module()
class CornerBBoxCoder(BaseBBoxCoder):
    """``(x1, y1, x2, y2) / stride``: for heads that work their boxes out themselves.

    Feng et al., TOOD, ICCV 2021, section 3.1, whose head moves the sides of its boxes.

    Args:
        clip_border: Clip decoded boxes to ``max_shape``.
        use_box_type: See :class:`BaseBBoxCoder`.
    """

    reference = 'centers'

    def __init__(self, clip_border: bool = False, use_box_type: bool = False) -> None:
        super().__init__(use_box_type)
        self.clip_border = clip_border

    def encode_exact(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K, 4)`` corners in strides."""
        points, corners = full_precision(bboxes), full_precision(gt_bboxes)
        scale = stride_pairs(stride, points, type(self).__name__)
        return torch.cat((corners[..., :2] / scale, corners[..., 2:] / scale), dim=-1)

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        max_shape: MaxShape = None,
        *,
        stride: Stride = None,
    ) -> Tensor:
        """See :meth:`BaseBBoxCoder.decode`."""
        points, corners = full_precision(bboxes), full_precision(pred_bboxes)
        scale = stride_pairs(stride, points, type(self).__name__)
        boxes = torch.cat((corners[..., :2] * scale, corners[..., 2:] * scale), dim=-1)
        return clip_boxes(boxes, max_shape) if self.clip_border else boxes
