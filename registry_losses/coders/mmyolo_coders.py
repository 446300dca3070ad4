"""Box coders with MMYOLO's names, which also accept its calls: strides third, by position."""

import torch
from torch import Tensor

from ..ops import clip_boxes
from ..registry import TASK_UTILS
from .base import (
    INF,
    MAX_EXPONENT,
    BaseBBoxCoder,
    MaxShape,
    Stride,
    center_and_size,
    full_precision,
    stride_pairs,
)
from .yolo_bbox_coders import YOLOV5BBoxCoder

_LEAST_SIDE = 1e-6  # pixels; keeps logarithms finite for gts without area


@TASK_UTILS.register_module()
class YOLOv5BBoxCoder(YOLOV5BBoxCoder):
    """:class:`YOLOV5BBoxCoder` under MMYOLO's name.

    The two differ in MMYOLO's call alone, ``decode(priors, raw, stride)``: there the sigmoid
    belongs to the coder, so with the stride as third argument the values are raw outputs.
    With ``stride=`` they are activated, as everywhere here. Jocher et al., YOLOv5.

    Args:
        eps: See :class:`YOLOV5BBoxCoder`.
        use_box_type: See :class:`BaseBBoxCoder`.
    """

    def decode(  # type: ignore[override]  # MMYOLO's third argument has another meaning
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        raw_stride: Stride = None,
        *,
        max_shape: MaxShape = None,
        stride: Stride = None,
    ) -> Tensor:
        """Encoded vectors to boxes.

        Args:
            bboxes: See :meth:`BaseBBoxCoder.decode`.
            pred_bboxes: Activated; raw where ``raw_stride`` is given.
            raw_stride: Of the priors, in MMYOLO's call.
            max_shape: See there.
            stride: See there.
        """
        if raw_stride is not None:
            pred_bboxes, stride = pred_bboxes.sigmoid(), raw_stride
        return super().decode(bboxes, pred_bboxes, stride, max_shape=max_shape)


@TASK_UTILS.register_module()
class YOLOXBBoxCoder(BaseBBoxCoder):
    """YOLOX's code: the offset from a point and the logarithm of the size, in strides.

    ``b_x = e_x stride + p_x`` with p the point, ``b_w = exp(e_w) stride``. Ge et al., YOLOX,
    arXiv:2107.08430, section 2.1 (anchor-free).

    The reachable set: everything (``exp`` saturates at e^20).

    Args:
        use_box_type: See :class:`BaseBBoxCoder`.
        from_corner: Measure from half a stride before the point. The authors' code assigns
            gts by the centres of the cells and codes boxes from their upper left corners.
        clip_border: Clip decoded boxes to ``max_shape``.

    Example:
        >>> import torch
        >>> coder = YOLOXBBoxCoder()
        >>> coder.decode(torch.tensor([[8., 8.]]), torch.zeros(1, 4), torch.tensor([8.])).tolist()
        [[4.0, 4.0, 12.0, 12.0]]
    """

    reference = 'centers'

    def __init__(
        self, use_box_type: bool = False, *, from_corner: bool = False, clip_border: bool = True
    ) -> None:
        super().__init__(use_box_type)
        self.from_corner = from_corner
        self.clip_border = clip_border

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Sizes not so far away that exp saturates."""
        return (-INF, -INF, -MAX_EXPONENT, -MAX_EXPONENT), (INF, INF, MAX_EXPONENT, MAX_EXPONENT)

    def encode_exact(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K, 4)`` offset and logarithm of the size."""
        points = full_precision(bboxes)
        center, size = center_and_size(full_precision(gt_bboxes))
        scale = stride_pairs(stride, points, type(self).__name__)
        points = points - scale / 2 if self.from_corner else points
        return torch.cat(
            ((center - points) / scale, (size.clamp(min=_LEAST_SIDE) / scale).log()), dim=-1
        )

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        stride: Stride = None,
        *,
        max_shape: MaxShape = None,
    ) -> Tensor:
        """Vectors at points ``(..., 2)`` to boxes; the stride may be third, as in MMYOLO."""
        points, encoded = full_precision(bboxes), full_precision(pred_bboxes)
        scale = stride_pairs(stride, points, type(self).__name__)
        points = points - scale / 2 if self.from_corner else points
        center = points + encoded[..., :2] * scale
        half = encoded[..., 2:].clamp(max=MAX_EXPONENT).exp() * scale * 0.5
        boxes = torch.cat((center - half, center + half), dim=-1)
        return clip_boxes(boxes, max_shape) if self.clip_border else boxes
