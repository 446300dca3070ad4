"""The box codes of YOLOv1, v3 and v5: a place in the cell, and a size."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ..errors import ConfigError
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

_LEAST_SIDE = 1e-6  # pixels; keeps quotients finite for priors without area


def _boxes(center: Tensor, size: Tensor, max_shape: MaxShape) -> Tensor:
    half = size * 0.5
    return clip_boxes(torch.cat((center - half, center + half), dim=-1), max_shape)


@TASK_UTILS.register_module()
class YOLOBBoxCoder(BaseBBoxCoder):
    """YOLOv3's (and v2's) code: place in the cell, logarithm of the size.

    Encoded ``(sigma(t_x), sigma(t_y), t_w, t_h)``; decoded
    ``b_x = (sigma(t_x) - 1/2) stride + p_x`` with p the prior's centre (which is
    ``sigma(t_x) + c_x`` in cells), ``b_w = p_w exp(t_w)``. Redmon & Farhadi, YOLOv3,
    arXiv:1804.02767, section 2.1. As in OpenMMLab the encoded vector includes the
    sigmoid, which :meth:`activate` applies.

    The reachable set: centres within the prior's cell. There is no bound on the size
    (``exp`` saturates at e^20).

    Args:
        eps: Encoded places keep this distance from 0 and 1, sizes this share of the
            prior's.
        use_box_type: See :class:`BaseBBoxCoder`.
        scale_x_y: Widens the sigmoid around the cell, ``s sigma - (s - 1) / 2``
            (Bochkovskiy et al., YOLOv4, section 3.4, grid sensitivity); 1 for YOLOv3.
            One number, or (stride, s) pairs, as YOLOv4 has an s a level; strides that
            are not listed get 1.
        clip_border: Clip decoded boxes to ``max_shape``.
    """

    def __init__(
        self,
        eps: float = 1e-6,
        use_box_type: bool = False,
        *,
        scale_x_y: float | Sequence[tuple[float, float]] = 1.0,
        clip_border: bool = True,
    ) -> None:
        super().__init__(use_box_type)
        self.eps = eps
        self.scale_x_y = (
            float(scale_x_y)
            if isinstance(scale_x_y, (int, float))
            else tuple((float(stride), float(scale)) for stride, scale in scale_x_y)
        )
        self.clip_border = clip_border

    def activate(self, raw: Tensor) -> Tensor:
        """Sigmoid of the first two values."""
        return torch.cat((raw[..., :2].sigmoid(), raw[..., 2:]), dim=-1)

    def _widened(self, stride: Tensor | float) -> Tensor | float:
        """Pixels that the sigmoid's whole range spans, shaped as ``stride``."""
        if isinstance(self.scale_x_y, float):
            return stride if self.scale_x_y == 1 else stride * self.scale_x_y
        if isinstance(stride, float):
            return stride * dict(self.scale_x_y).get(stride, 1.0)
        spans = stride
        for listed, scale in self.scale_x_y:
            spans = torch.where(stride == listed, stride * scale, spans)
        return spans

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Within the cell; sizes not so far away that exp saturates."""
        low, high = self.eps, 1 - self.eps
        return (low, low, -MAX_EXPONENT, -MAX_EXPONENT), (high, high, MAX_EXPONENT, MAX_EXPONENT)

    def encode_exact(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K, 4)`` place in the cell and logarithm of the size."""
        center, size = center_and_size(full_precision(bboxes))
        gt_center, gt_size = center_and_size(full_precision(gt_bboxes))
        span = self._widened(stride_pairs(stride, bboxes, type(self).__name__))
        place = (gt_center - center) / span + 0.5
        ratio = (gt_size / size.clamp(min=_LEAST_SIDE)).clamp(min=self.eps)
        return torch.cat((place, ratio.log()), dim=-1)

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """See :meth:`BaseBBoxCoder.encode`; the stride may be positional, as in OpenMMLab."""
        return super().encode(bboxes, gt_bboxes, stride=stride)

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        stride: Stride = None,
        *,
        max_shape: MaxShape = None,
    ) -> Tensor:
        """See :meth:`BaseBBoxCoder.decode`; the stride may be positional, as in OpenMMLab."""
        center, size = center_and_size(full_precision(bboxes))
        encoded = full_precision(pred_bboxes)
        span = self._widened(stride_pairs(stride, bboxes, type(self).__name__))
        center = center + (encoded[..., :2] - 0.5) * span
        size = size * encoded[..., 2:].clamp(max=MAX_EXPONENT).exp()
        return _boxes(center, size, max_shape if self.clip_border else None)


@TASK_UTILS.register_module()
class YOLOV5BBoxCoder(BaseBBoxCoder):
    """YOLOv5's code: all four values are sigmoids.

    With ``e = sigma(t)``: ``b_x = (2 e_x - 1) stride + p_x`` with p the prior's centre
    (which is ``2 sigma - 0.5 + c_x`` in cells), ``b_w = p_w (2 e_w)^2``. Jocher et al.,
    YOLOv5, models/yolo.py (there is no paper).

    The reachable set: centres less than a stride from the prior's, sides up to 4 times
    the prior's.

    Args:
        eps: Encoded values keep this distance from 0 and 1.
        use_box_type: See :class:`BaseBBoxCoder`.
    """

    def __init__(self, eps: float = 1e-6, use_box_type: bool = False) -> None:
        super().__init__(use_box_type)
        self.eps = eps

    def activate(self, raw: Tensor) -> Tensor:
        """Sigmoid of all four values."""
        return raw.sigmoid()

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What a sigmoid can be."""
        return (self.eps,) * 4, (1 - self.eps,) * 4

    def encode_exact(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K, 4)``."""
        center, size = center_and_size(full_precision(bboxes))
        gt_center, gt_size = center_and_size(full_precision(gt_bboxes))
        scale = stride_pairs(stride, bboxes, type(self).__name__)
        place = (gt_center - center) / scale * 0.5 + 0.5
        ratio = gt_size / size.clamp(min=_LEAST_SIDE)
        return torch.cat((place, ratio.sqrt() * 0.5), dim=-1)

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """See :meth:`BaseBBoxCoder.encode`."""
        return super().encode(bboxes, gt_bboxes, stride=stride)

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        stride: Stride = None,
        *,
        max_shape: MaxShape = None,
    ) -> Tensor:
        """See :meth:`BaseBBoxCoder.decode`; ``pred_bboxes`` are activated already."""
        center, size = center_and_size(full_precision(bboxes))
        encoded = full_precision(pred_bboxes)
        scale = stride_pairs(stride, bboxes, type(self).__name__)
        center = center + (encoded[..., :2] - 0.5) * 2 * scale
        return _boxes(center, size * (encoded[..., 2:] * 2) ** 2, max_shape)


@TASK_UTILS.register_module()
class YOLOV1BBoxCoder(BaseBBoxCoder):
    """YOLOv1's code: place in the cell, square root of the size as a share of the image.

    ``e_x = (b_x - p_x) / stride + 1/2`` with p the cell's centre,
    ``e_w = sqrt(b_w / W)``. Redmon et al., You Only Look Once, CVPR 2016, section 2.2:
    square roots, so that an error weighs less on a large box.

    The size of the network's input is needed, which is fixed in YOLOv1: the share is of
    the input, padding included.

    The reachable set: with the paper's linear output everything; with sigmoids, centres
    within the cell and sides up to the input's.

    Args:
        input_size: (height, width) of the network's input in pixels.
        activation: ``linear`` as in the paper, or ``sigmoid``.
        use_box_type: See :class:`BaseBBoxCoder`.

    Raises:
        ConfigError: For an unknown activation.
    """

    reference = 'centers'

    def __init__(
        self,
        input_size: Sequence[int] = (448, 448),
        activation: Literal['linear', 'sigmoid'] = 'linear',
        use_box_type: bool = False,
    ) -> None:
        super().__init__(use_box_type)
        if activation not in ('linear', 'sigmoid'):
            raise ConfigError(f'activation: expected linear or sigmoid, got {activation!r}')
        self.input_size = (int(input_size[0]), int(input_size[1]))
        self.activation = activation

    def activate(self, raw: Tensor) -> Tensor:
        """The identity, or the sigmoid of all four values."""
        return raw.sigmoid() if self.activation == 'sigmoid' else raw

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What the output can be; a root is not negative."""
        if self.activation == 'sigmoid':
            return (0.0,) * 4, (1.0,) * 4
        return (-INF, -INF, 0.0, 0.0), (INF,) * 4

    def _input(self, like: Tensor) -> Tensor:
        height, width = self.input_size
        return self.constant((float(width), float(height)), like)

    def encode_exact(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K, 4)``."""
        points, gt = full_precision(bboxes), full_precision(gt_bboxes)
        gt_center, gt_size = center_and_size(gt)
        place = (gt_center - points) / stride_pairs(stride, points, type(self).__name__) + 0.5
        return torch.cat((place, (gt_size / self._input(gt)).sqrt()), dim=-1)

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        max_shape: MaxShape = None,
        *,
        stride: Stride = None,
    ) -> Tensor:
        """See :meth:`BaseBBoxCoder.decode`; a negative root counts by its square."""
        points, encoded = full_precision(bboxes), full_precision(pred_bboxes)
        scale = stride_pairs(stride, points, type(self).__name__)
        center = points + (encoded[..., :2] - 0.5) * scale
        return _boxes(center, encoded[..., 2:] ** 2 * self._input(encoded), max_shape)
