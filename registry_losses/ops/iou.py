"""IoU and its relatives: the one box geometry of losses, assigners, NMS and metrics.

Every measure works element by element over broadcast shapes: ``(..., 4)`` and
``(..., 4)`` give ``(...)``. :func:`bbox_overlaps` makes the pairwise form by inserting
axes. Half precision inputs are computed, and returned, in float32.

Values and gradients are finite for boxes of no area, inverted, equal or far apart (up
to coordinates of 1e15; a float32 area overflows beyond 1e19). An inverted side counts
as 0, so an inverted box has no area and overlaps nothing.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import ShapeError
from .box_pair import BoxPair, at_least

OverlapMode = Literal['iou', 'iof', 'giou', 'diou', 'ciou', 'eiou', 'siou', 'efficient_iou']


def iou(boxes1: Tensor, boxes2: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Intersection over union, ``overlap / max(union, eps)``."""
    pair = BoxPair(boxes1, boxes2)
    return pair.overlap / pair.union.clamp(min=eps)


Corners = Sequence[Tensor]


def iou_of_corners(
    corners1: Corners,
    area1: Tensor,
    corners2: Corners,
    area2: Tensor,
    *,
    eps: float = 1e-6,
    out: Tensor | None = None,
) -> Tensor:
    """:func:`iou` where coordinates stand apart and areas are known: equal to the bit.

    Works in place on its own temporaries, at half the cost, and has no gradient.

    Args:
        corners1: x1, y1, x2, y2, each ``(...)`` float32.
        area1: ``(...)`` area of these, with inverted sides counted as 0.
        corners2: The same, broadcast against the first.
        area2: Theirs.
        eps: Keeps the denominator from 0.
        out: Where to write the result; a new tensor by default.

    Example:
        >>> import torch
        >>> first = torch.tensor([[0., 0., 4., 2.]]).unbind(-1)
        >>> second = torch.tensor([[2., 0., 6., 2.]]).unbind(-1)
        >>> iou_of_corners(first, torch.tensor([8.]), second, torch.tensor([8.]))
        tensor([0.3333])
    """
    ax1, ay1, ax2, ay2 = (corner.detach() for corner in corners1)
    bx1, by1, bx2, by2 = (corner.detach() for corner in corners2)
    overlap = torch.minimum(ax2, bx2, out=out).sub_(torch.maximum(ax1, bx1)).clamp_(min=0)
    overlap.mul_(torch.minimum(ay2, by2).sub_(torch.maximum(ay1, by1)).clamp_(min=0))
    union = torch.add(area1.detach(), area2.detach()).sub_(overlap).clamp_(min=eps)
    return overlap.div_(union)


def iof(boxes1: Tensor, boxes2: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Intersection over foreground, the share of the first box inside the second."""
    pair = BoxPair(boxes1, boxes2)
    foreground = pair.areas[0].clamp(min=eps).expand(pair.overlap.shape)
    return pair.overlap / foreground


def giou(boxes1: Tensor, boxes2: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Generalized IoU, in [-1, 1]: ``iou - (enclosing - union) / enclosing``.

    Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, algorithm 1.
    """
    pair = BoxPair(boxes1, boxes2)
    union = pair.union.clamp(min=eps)
    width, height = pair.enclosing_size
    enclosing = at_least((width * height).clamp(min=eps), union)
    return pair.overlap / union - (enclosing - union) / enclosing


def diou(boxes1: Tensor, boxes2: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Distance IoU, in [-1, 1]: ``iou - d^2 / c^2``.

    d is the distance of the centres, c the diagonal of the smallest enclosing box.
    Zheng et al., Distance-IoU Loss, AAAI 2020, the DIoU loss.
    """
    pair = BoxPair(boxes1, boxes2)
    return pair.iou(eps) - pair.center_penalty(eps)


def ciou(
    boxes1: Tensor, boxes2: Tensor, *, eps: float = 1e-6, alpha_threshold: float | None = 0.5
) -> Tensor:
    """Complete IoU: ``iou - d^2 / c^2 - alpha v``.

    ``v = 4 / pi^2 (atan(w2 / h2) - atan(w1 / h1))^2`` is the difference of the aspect
    ratios and ``alpha = v / (1 - iou + v)`` its weight, which takes no gradient.
    Zheng et al., Distance-IoU Loss, AAAI 2020, the CIoU loss; the threshold is from
    their Enhancing Geometric Factors, IEEE Trans. Cybernetics 2022.

    Args:
        boxes1: ``(..., 4)`` xyxy; the predictions, in a loss.
        boxes2: ``(..., 4)`` xyxy.
        eps: Keeps denominators from 0. Two equal boxes give alpha 0, not NaN.
        alpha_threshold: alpha is 0 up to this IoU; None for YOLOv5's form without it.
    """
    pair = BoxPair(boxes1, boxes2)
    w1, h1, w2, h2 = pair.sizes
    overlap = pair.iou(eps)
    difference = torch.atan(w2 / (h2 + eps)) - torch.atan(w1 / (h1 + eps))
    v = (4 / math.pi**2) * difference * difference
    with torch.no_grad():
        alpha = v / (1 - overlap + v).clamp(min=eps)
        if alpha_threshold is not None:
            alpha = alpha * (overlap > alpha_threshold)
    return overlap - pair.center_penalty(eps) - alpha * v


def extended_iou(boxes1: Tensor, boxes2: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Extended IoU: the intersection goes on below 0 for boxes that do not meet.

    Measured from the corner of the enclosing box, ``(sx1, sy1)`` and ``(sx2, sy2)`` are
    the larger of the low and the smaller of the high corners. Where the boxes meet, the
    intersection is the usual one; where they do not, it is
    ``sx2 sy2 + mx my - sx1 My - Mx sy1`` with ``m`` and ``M`` the smaller and the larger
    of the two, which is negative and grows with the gap.

    This is the measure behind OpenMMLab's ``EIoULoss``; Peng & Yu, A Systematic
    IoU-Related Method, IEEE TIP 2021, EIoU. For the Efficient IoU of the same
    abbreviation see :func:`efficient_iou`.
    """
    pair = BoxPair(boxes1, boxes2)
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = pair.corners
    left, top = torch.min(ax1, bx1), torch.min(ay1, by1)
    sx1, sy1 = torch.max(ax1, bx1) - left, torch.max(ay1, by1) - top
    # Below 0 for inverted boxes alone.
    sx2 = (torch.min(ax2, bx2) - left).clamp(min=0)
    sy2 = (torch.min(ay2, by2) - top).clamp(min=0)
    low_x, high_x = torch.min(sx1, sx2), torch.max(sx1, sx2)
    low_y, high_y = torch.min(sy1, sy2), torch.max(sy1, sy2)
    overlap = sx2 * sy2 + low_x * low_y - sx1 * high_y - high_x * sy1
    area1, area2 = pair.areas
    # The union is never less than the larger box; rounding of huge boxes may say so.
    union = torch.max(area1 + area2 - overlap, torch.max(area1, area2)) + eps
    return overlap / union


def efficient_iou(boxes1: Tensor, boxes2: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Efficient IoU: ``iou - d^2 / c^2 - dw^2 / cw^2 - dh^2 / ch^2``.

    ``dw`` and ``dh`` are the differences of width and height, ``cw`` and ``ch`` the
    sides of the enclosing box. Zhang et al., Focal and Efficient IOU Loss,
    Neurocomputing 2022, EIoU.
    """
    pair = BoxPair(boxes1, boxes2)
    w1, h1, w2, h2 = pair.sizes
    width, height = pair.enclosing_size
    shape = (w2 - w1) ** 2 / (width**2 + eps) + (h2 - h1) ** 2 / (height**2 + eps)
    return pair.iou(eps) - pair.center_penalty(eps) - shape


def siou(
    boxes1: Tensor, boxes2: Tensor, *, eps: float = 1e-7, neg_gamma: bool = True, theta: float = 4.0
) -> Tensor:
    """SCYLLA-IoU: ``iou - (distance + shape) / 2``.

    * angle ``= sin(2 arcsin(sin a)) = 2 |dx dy| / (dx^2 + dy^2)``, 0 for centres on one
      axis, 1 on a diagonal;
    * distance ``= sum over x, y of 1 - exp(-g (d / c)^2)`` with ``g = 2 - angle`` and c
      the side of the enclosing box;
    * shape ``= sum over w, h of (1 - exp(-|w1 - w2| / max(w1, w2)))^theta``.

    Gevorgyan, SIoU Loss, arXiv:2205.12740.

    Args:
        boxes1: ``(..., 4)`` xyxy; the predictions, in a loss.
        boxes2: ``(..., 4)`` xyxy.
        eps: Keeps denominators from 0.
        neg_gamma: The exponent of the distance is negative, as in the paper. False
            gives the sign that is the default of OpenMMLab's ``SIoULoss``, with which a
            larger distance makes the measure larger.
        theta: How much the shape counts.
    """
    pair = BoxPair(boxes1, boxes2)
    w1, h1, w2, h2 = pair.sizes
    width, height = pair.enclosing_size
    dx, dy = (offset + eps for offset in pair.center_offset)
    angle = 2 * (dx * dy).abs() / (dx * dx + dy * dy).clamp(min=eps * eps)
    gamma = (angle - 2) if neg_gamma else (2 - angle)
    ratio_x = dx * dx / at_least(width * width, dx * dx).clamp(min=eps)
    ratio_y = dy * dy / at_least(height * height, dy * dy).clamp(min=eps)
    distance = 2 - torch.exp(gamma * ratio_x) - torch.exp(gamma * ratio_y)
    omega_w = (w1 - w2).abs() / torch.max(w1, w2).clamp(min=eps)
    omega_h = (h1 - h2).abs() / torch.max(h1, h2).clamp(min=eps)
    shape = (1 - torch.exp(-omega_w)) ** theta + (1 - torch.exp(-omega_h)) ** theta
    return pair.iou(eps) - (distance + shape) / 2


def nwd(boxes1: Tensor, boxes2: Tensor, *, constant: float = 12.8, eps: float = 1e-6) -> Tensor:
    """Normalised Gaussian Wasserstein distance, a similarity in (0, 1].

    Boxes are taken as Gaussians: ``exp(-sqrt(W2) / constant)`` with
    ``W2 = dx^2 + dy^2 + (dw^2 + dh^2) / 4``. It does not need boxes that meet.
    Wang et al., A Normalized Gaussian Wasserstein Distance for Tiny Object Detection,
    arXiv:2110.13389, NWD.

    Args:
        boxes1: ``(..., 4)`` xyxy.
        boxes2: ``(..., 4)`` xyxy.
        constant: Scale in pixels; 12.8 is the mean object size of AI-TOD.
        eps: Distances below it, in pixels, count as 0 and give no gradient.
    """
    pair = BoxPair(boxes1, boxes2)
    dx, dy = pair.center_offset
    w1, h1, w2, h2 = pair.sizes
    squared = dx * dx + dy * dy + ((w1 - w2) ** 2 + (h1 - h2) ** 2) / 4
    # The derivative of sqrt is infinite at 0: two equal boxes would give NaN.
    together = squared <= eps * eps
    distance = torch.where(together, 0, torch.where(together, 1, squared).sqrt())
    return torch.exp(-distance / constant)


_MEASURES = {
    'iou': iou,
    'iof': iof,
    'giou': giou,
    'diou': diou,
    'ciou': ciou,
    'eiou': extended_iou,
    'siou': siou,
    'efficient_iou': efficient_iou,
}


def bbox_overlaps(
    bboxes1: Tensor,
    bboxes2: Tensor,
    mode: OverlapMode = 'iou',
    is_aligned: bool = False,
    eps: float = 1e-6,
) -> Tensor:
    """Overlaps of every pair, or of boxes at equal positions.

    Args:
        bboxes1: ``(..., M, 4)`` xyxy.
        bboxes2: ``(..., N, 4)`` xyxy, with the same or broadcastable batch dimensions;
            N = M when aligned.
        mode: ``iou``; ``iof`` (over the area of the first box); ``giou``; ``diou``;
            ``ciou``; ``eiou`` (:func:`extended_iou`, as in OpenMMLab's ``EIoULoss``);
            ``siou``; ``efficient_iou``.
        is_aligned: Compare ``bboxes1[..., i, :]`` with ``bboxes2[..., i, :]`` alone.
        eps: Keeps denominators from 0.

    Returns:
        ``(..., M, N)``, or ``(..., M)`` when aligned; float32, or float64 for such boxes.

    Raises:
        ValueError: For an unknown mode.
        ShapeError: If the boxes are not ``(..., 4)``, or not equally many when aligned.
    """
    if mode not in _MEASURES:
        known = ', '.join(get_args(OverlapMode))
        raise ValueError(f'mode: expected one of {known}; got {mode!r}')
    if bboxes1.shape[-1:] != (4,) or bboxes2.shape[-1:] != (4,):
        raise ShapeError(
            'boxes: expected (..., M, 4) and (..., N, 4), got '
            f'{tuple(bboxes1.shape)} and {tuple(bboxes2.shape)}'
        )
    if is_aligned:
        if bboxes1.shape[-2:] != bboxes2.shape[-2:]:
            raise ShapeError(
                'aligned boxes: expected as many in both, got '
                f'{tuple(bboxes1.shape)} and {tuple(bboxes2.shape)}'
            )
        return _MEASURES[mode](bboxes1, bboxes2, eps=eps)
    return _MEASURES[mode](bboxes1.unsqueeze(-2), bboxes2.unsqueeze(-3), eps=eps)
