"""Distances from a point to the four sides of a box."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import ConfigError, ShapeError
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

Activation = Literal['none', 'exp', 'relu', 'softplus']

_LEAST_SIDE = 1e-6  # pixels; keeps quotients finite for priors without area


@TASK_UTILS.register_module()
class DistancePointBBoxCoder(BaseBBoxCoder):
    """Left, top, right and bottom distance from a point, in pixels or in strides.

    Tian et al., FCOS, ICCV 2019, equation 1.

    The reachable set: everything where the output is free; distances that are not
    negative where it is not; at most ``max_dis - eps`` where that is set. A point
    outside its gt has a negative distance.

    Args:
        clip_border: Clip decoded boxes to ``max_shape``.
        use_box_type: See :class:`BaseBBoxCoder`.
        normalize_by_stride: Distances are in strides of the point's level, as with
            FCOS's ``norm_on_bbox`` and the anchor-free YOLO heads.
        activation: From raw outputs to distances: ``exp``, ``relu``, ``softplus``, or
            ``none`` where the head has done it.
        nonnegative: The output cannot be negative; by default so unless the activation
            is ``none``. Set it where the head's forward ends in an exponential.
        max_dis: Largest distance, in encoded units (``reg_max`` of a distribution).
        eps: Encoded gts stay this far below ``max_dis``.
        bins: Where each side is a distribution: raw outputs are the logits of that many
            bins 0, 1, 2 ... a side, and the distance is their expectation (Generalized
            Focal Loss, Li et al., 2020, equation 5). ``max_dis`` is then ``bins - 1`` if
            nothing else is said.

    Raises:
        ConfigError: For an unknown activation.
    """

    reference = 'centers'

    def __init__(
        self,
        clip_border: bool = True,
        use_box_type: bool = False,
        *,
        normalize_by_stride: bool = False,
        activation: Activation = 'none',
        nonnegative: bool | None = None,
        max_dis: float | None = None,
        eps: float = 0.1,
        bins: int | None = None,
    ) -> None:
        super().__init__(use_box_type)
        if activation not in ('none', 'exp', 'relu', 'softplus'):
            raise ConfigError(f'activation: expected none, exp, relu or softplus; {activation!r}')
        self.clip_border = clip_border
        self.normalize_by_stride = normalize_by_stride
        self.activation = activation
        self.nonnegative = (activation != 'none') if nonnegative is None else nonnegative
        if bins is not None and (bins < 2 or activation != 'none'):
            raise ConfigError(
                f'bins: expected at least 2 and no activation, got {bins} and {activation!r}'
            )
        self.max_dis = bins - 1.0 if bins is not None and max_dis is None else max_dis
        self.eps = eps
        self.bins = bins

    def activate(self, raw: Tensor) -> Tensor:
        """Raw outputs ``(..., 4)``, or ``(..., 4 * bins)``, to distances ``(..., 4)``."""
        if self.bins is not None:
            share = raw.unflatten(-1, (4, self.bins)).softmax(dim=-1)
            return share @ self.constant(tuple(float(i) for i in range(self.bins)), share)
        if self.activation == 'exp':
            return raw.clamp(max=MAX_EXPONENT).exp()
        if self.activation == 'relu':
            return raw.relu()
        return functional.softplus(raw) if self.activation == 'softplus' else raw

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Distances that the output can be."""
        low = 0.0 if self.nonnegative or self.max_dis is not None else -INF
        high = INF if self.max_dis is None else self.max_dis - self.eps
        return (low,) * 4, (high,) * 4

    def encode_exact(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K, 4)`` distances."""
        points, gt = full_precision(bboxes), full_precision(gt_bboxes)
        before, after = points - gt[..., :2], gt[..., 2:] - points
        if self.normalize_by_stride:
            scale = stride_pairs(stride, points, type(self).__name__)
            before, after = before / scale, after / scale
        return torch.cat((before, after), dim=-1)

    def encode(
        self,
        bboxes: Tensor,
        gt_bboxes: Tensor,
        max_dis: float | None = None,
        eps: float = 0.1,
        *,
        stride: Stride = None,
    ) -> Tensor:
        """Gts as distances.

        Args:
            bboxes: ``(K, 2)`` points.
            gt_bboxes: ``(K, 4)`` xyxy.
            max_dis: Bound the result to [0, max_dis - eps], beside the coder's own
                reachable set.
            eps: See ``max_dis``.
            stride: Of the points: a number, ``(K,)``, or (x, y) ``(K, 2)``.
        """
        distances = super().encode(bboxes, gt_bboxes, stride=stride)
        return distances if max_dis is None else distances.clamp(0, max_dis - eps)

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        max_shape: MaxShape = None,
        *,
        stride: Stride = None,
    ) -> Tensor:
        """Distances from points ``(..., 2)`` to boxes; see :meth:`BaseBBoxCoder.decode`.

        MMYOLO's coder of this name has the strides third, by position, and distances in
        strides: a tensor ``(N,)``, one number a point, is taken for them there.

        Raises:
            ShapeError: If the third argument could be either, for two or three points.
        """
        points, distances = full_precision(bboxes), full_precision(pred_bboxes)
        in_strides = self.normalize_by_stride
        if isinstance(max_shape, Tensor) and max_shape.dim() == 1:
            count = points.shape[-2]
            if max_shape.shape[0] == count and count in (2, 3):
                raise ShapeError(
                    f'decode: a third argument of {count} numbers for {count} points may be a '
                    'size or the strides; pass max_shape= as a tuple, or stride= by name'
                )
            if max_shape.shape[0] == count:
                in_strides, stride, max_shape = True, max_shape, None
        before, after = distances[..., :2], distances[..., 2:]
        if in_strides:
            scale = stride_pairs(stride, points, type(self).__name__)
            before, after = before * scale, after * scale
        boxes = torch.cat((points - before, points + after), dim=-1)
        return clip_boxes(boxes, max_shape) if self.clip_border else boxes


@TASK_UTILS.register_module()
class TBLRBBoxCoder(BaseBBoxCoder):
    """Top, bottom, left and right distance from a box's centre, in shares of its size.

    Zhu et al., Feature Selective Anchor-Free Module, CVPR 2019 (FSAF).

    Args:
        normalizer: Distances are divided by it; one number, or four.
        clip_border: Clip decoded boxes to ``max_shape``.
        use_box_type: See :class:`BaseBBoxCoder`.
        normalize_by_wh: Divide by the prior's height and width as well.
    """

    def __init__(
        self,
        normalizer: float | Sequence[float] = 4.0,
        clip_border: bool = True,
        use_box_type: bool = False,
        *,
        normalize_by_wh: bool = True,
    ) -> None:
        super().__init__(use_box_type)
        self.normalizer = normalizer
        self.clip_border = clip_border
        self.normalize_by_wh = normalize_by_wh

    def _scale(self, bboxes: Tensor) -> tuple[Tensor, Tensor]:
        """``(..., 2)`` centres, and ``(..., 4)`` pixels of one encoded unit."""
        center, size = center_and_size(bboxes)
        one = (
            (self.normalizer,) * 4
            if isinstance(self.normalizer, (int, float))
            else tuple(self.normalizer)
        )
        scale = self.constant(one, bboxes)
        if self.normalize_by_wh:
            width, height = size.clamp(min=_LEAST_SIDE).unbind(-1)
            scale = scale * torch.stack((height, height, width, width), dim=-1)
        return center, scale

    def encode_exact(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K, 4)`` top, bottom, left, right."""
        center, scale = self._scale(full_precision(bboxes))
        (cx, cy), (x1, y1, x2, y2) = center.unbind(-1), full_precision(gt_bboxes).unbind(-1)
        return torch.stack((cy - y1, y2 - cy, cx - x1, x2 - cx), dim=-1) / scale

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        max_shape: MaxShape = None,
        *,
        stride: Stride = None,
    ) -> Tensor:
        """See :meth:`BaseBBoxCoder.decode`; the stride is not read."""
        center, scale = self._scale(full_precision(bboxes))
        cx, cy = center.unbind(-1)
        top, bottom, left, right = (full_precision(pred_bboxes) * scale).unbind(-1)
        boxes = torch.stack((cx - left, cy - top, cx + right, cy + bottom), dim=-1)
        return clip_boxes(boxes, max_shape) if self.clip_border else boxes
