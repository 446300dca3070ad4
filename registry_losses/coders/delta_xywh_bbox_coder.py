"""Deltas of centre and logarithmic size, relative to a box."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..ops import clip_boxes
from ..registry import TASK_UTILS
from .base import INF, BaseBBoxCoder, MaxShape, Stride, center_and_size, full_precision

_LEAST_SIDE = 1e-6  # pixels; keeps quotients and logarithms of boxes without area finite


@TASK_UTILS.register_module()
class DeltaXYWHBBoxCoder(BaseBBoxCoder):
    """R-CNN's box regression.

    ``dx = (gx - px) / pw``, ``dy = (gy - py) / ph``, ``dw = log(gw / pw)``,
    ``dh = log(gh / ph)``, then ``(d - mean) / std``. Girshick et al., Rich Feature
    Hierarchies, CVPR 2014, appendix C; the clipping of sizes is Detectron's.

    The reachable set is ``|dw|, |dh| <= -log(wh_ratio_clip)``. Encoded gts beyond it are
    left as they are, as in OpenMMLab: the output is not confined, so it can reach them.

    Args:
        target_means: Subtracted from the deltas.
        target_stds: The deltas are divided by them.
        clip_border: Clip decoded boxes to ``max_shape``.
        add_ctr_clamp: Bound the movement of the centre (YOLOF), and enlargement alone.
        ctr_clamp: To so many pixels.
        use_box_type: See :class:`BaseBBoxCoder`.
        wh_ratio_clip: Decoded sides are at least this share and at most its inverse of
            the prior's.

    Example:
        >>> coder = DeltaXYWHBBoxCoder()
        >>> prior, gt = torch.tensor([[0., 0., 8., 8.]]), torch.tensor([[4., 0., 12., 8.]])
        >>> coder.encode(prior, gt).tolist()
        [[0.5, 0.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        clip_border: bool = True,
        add_ctr_clamp: bool = False,
        ctr_clamp: float = 32,
        use_box_type: bool = False,
        *,
        wh_ratio_clip: float = 16 / 1000,
    ) -> None:
        super().__init__(use_box_type)
        self.means = tuple(float(value) for value in target_means)
        self.stds = tuple(float(value) for value in target_stds)
        self.clip_border = clip_border
        self.add_ctr_clamp = add_ctr_clamp
        self.ctr_clamp = ctr_clamp
        self.max_log_ratio = abs(math.log(wh_ratio_clip))

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Sizes within the clip, in encoded units."""
        sides = tuple(zip(self.means[2:], self.stds[2:]))
        least = -INF if self.add_ctr_clamp else -self.max_log_ratio
        low = tuple((least - mean) / std for mean, std in sides)
        high = tuple((self.max_log_ratio - mean) / std for mean, std in sides)
        return (-INF, -INF, *low), (INF, INF, *high)

    @property
    def clamps(self) -> bool:
        """False: the output is not confined."""
        return False

    def encode_exact(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K, 4)`` deltas."""
        center, size = center_and_size(full_precision(bboxes))
        gt_center, gt_size = center_and_size(full_precision(gt_bboxes))
        size, gt_size = size.clamp(min=_LEAST_SIDE), gt_size.clamp(min=_LEAST_SIDE)
        deltas = torch.cat(((gt_center - center) / size, torch.log(gt_size / size)), dim=-1)
        return (deltas - self.constant(self.means, deltas)) / self.constant(self.stds, deltas)

    def reachable(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K,)`` bool: within the clip, and the centre within ``ctr_clamp``."""
        inside = super().reachable(bboxes, gt_bboxes, stride)
        if not self.add_ctr_clamp:
            return inside
        distance = (center_and_size(gt_bboxes)[0] - center_and_size(bboxes)[0]).abs()
        return inside & (distance <= self.ctr_clamp).all(dim=-1)

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        max_shape: MaxShape = None,
        wh_ratio_clip: float | None = None,
        *,
        stride: Stride = None,
    ) -> Tensor:
        """Deltas to boxes.

        Args:
            bboxes: ``(N, 4)`` or ``(B, N, 4)`` xyxy.
            pred_bboxes: ``(N, C * 4)`` or ``(B, N, C * 4)``.
            max_shape: Clip to (height, width), or to one such pair an image.
            wh_ratio_clip: In place of the coder's own.
            stride: Not read.

        Returns:
            Boxes xyxy of the shape of ``pred_bboxes``.
        """
        limit = self.max_log_ratio if wh_ratio_clip is None else abs(math.log(wh_ratio_clip))
        deltas = full_precision(pred_bboxes)
        deltas = deltas.unflatten(-1, (-1, 4))  # (..., N, C, 4)
        deltas = deltas * self.constant(self.stds, deltas) + self.constant(self.means, deltas)
        low, high = full_precision(bboxes)[..., :2], full_precision(bboxes)[..., 2:]
        center, size = ((low + high) * 0.5).unsqueeze(-2), (high - low).unsqueeze(-2)
        move, log_ratio = size * deltas[..., :2], deltas[..., 2:]
        if self.add_ctr_clamp:
            move = move.clamp(-self.ctr_clamp, self.ctr_clamp)
            log_ratio = log_ratio.clamp(max=limit)
        else:
            log_ratio = log_ratio.clamp(-limit, limit)
        new_center, half = center + move, size * log_ratio.exp() * 0.5
        boxes = torch.cat((new_center - half, new_center + half), dim=-1)
        if self.clip_border:
            boxes = clip_boxes(boxes, max_shape)
        return boxes.flatten(-2)
