"""Losses of decoded boxes by their overlap: the IoU family.

Values and gradients are finite for boxes of no area, inverted, equal or far apart; the
measures themselves stand in :mod:`registry_losses.ops.iou`.

Shapes: K pairs; boxes are xyxy in pixels.
"""

import torch
from torch import Tensor

from .. import ops
from ..errors import ShapeError
from .checks import check_choice, check_numbers
from .reduction import reducible

IOU_MODES = ('linear', 'square', 'log')
NWD_MODES = ('linear', 'log')
YOLO_MODES = ('ciou', 'giou', 'siou')
BOX_FORMATS = ('xyxy', 'xywh')


def _check(name: str, pred: Tensor, **above_zero: float) -> None:
    """Refuse what is no box, and settings that are not above 0."""
    if pred.dim() == 0 or pred.shape[-1] != 4:
        raise ShapeError(f'{name}: pred: expected boxes (K, 4), got {tuple(pred.shape)}')
    check_numbers(name, low=0, above=True, **above_zero)  # type: ignore[arg-type]


@reducible
def iou_loss(pred: Tensor, target: Tensor, *, mode: str = 'log', eps: float = 1e-6) -> Tensor:
    """``1 - IoU`` (linear), ``1 - IoU^2`` (square) or ``-ln IoU`` (log).

    Source: J. Yu et al., UnitBox (2016), section 3.1 (log).

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        mode: ``'linear'``, ``'square'`` or ``'log'``.
        eps: The IoU counts as at least this much; pairs that do not meet have a loss but
            no gradient.
    """
    _check('iou_loss', pred, eps=eps)
    check_choice('iou_loss', 'mode', mode, IOU_MODES)
    overlap = ops.iou(pred, target).clamp(min=eps)
    if mode == 'log':
        return -overlap.log()
    return 1 - (overlap if mode == 'linear' else overlap.square())


@reducible
def giou_loss(pred: Tensor, target: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``1 - GIoU``; H. Rezatofighi et al., Generalized IoU (2019), algorithm 1."""
    _check('giou_loss', pred, eps=eps)
    return 1 - ops.giou(pred, target, eps=eps)


@reducible
def diou_loss(pred: Tensor, target: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``1 - DIoU``; Z. Zheng et al., Distance-IoU Loss (2020), equation 7."""
    _check('diou_loss', pred, eps=eps)
    return 1 - ops.diou(pred, target, eps=eps)


@reducible
def ciou_loss(pred: Tensor, target: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``1 - CIoU``, at most 2; Z. Zheng et al., Distance-IoU Loss (2020), equation 8.

    A perfect prediction costs 0.
    """
    _check('ciou_loss', pred, eps=eps)
    return 1 - ops.ciou(pred, target, eps=eps).clamp(min=-1, max=1)


@reducible
def eiou_loss(
    pred: Tensor, target: Tensor, *, smooth_point: float = 0.1, eps: float = 1e-6
) -> Tensor:
    """Smoothed ``1 - EIoU`` with the *extended* IoU, which has a slope for boxes apart.

    With ``l = 1 - EIoU``: ``l^2 / (2 smooth_point)`` below ``smooth_point``, else
    ``l - smooth_point / 2``. H. Peng and S. Yu, A Systematic IoU-Related Method (2021),
    section III. The other loss of this abbreviation is :func:`efficient_iou_loss`.
    """
    _check('eiou_loss', pred, eps=eps, smooth_point=smooth_point)
    loss = 1 - ops.extended_iou(pred, target, eps=eps)
    return torch.where(
        loss < smooth_point, 0.5 * loss.square() / smooth_point, loss - 0.5 * smooth_point
    )


@reducible
def efficient_iou_loss(pred: Tensor, target: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``1 - EIoU`` with the *efficient* IoU.

    Y.-F. Zhang et al., Focal and Efficient IOU Loss (2022), equation 4.
    """
    _check('efficient_iou_loss', pred, eps=eps)
    return 1 - ops.efficient_iou(pred, target, eps=eps)


@reducible
def siou_loss(
    pred: Tensor, target: Tensor, *, eps: float = 1e-6, neg_gamma: bool = False
) -> Tensor:
    """``1 - SIoU``, in [0, 2]; Z. Gevorgyan, SIoU Loss (2022), equation 13.

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        eps: Keeps denominators from 0.
        neg_gamma: The sign of the distance cost's exponent. True is the paper's; False,
            the default of OpenMMLab, rewards distance.
    """
    _check('siou_loss', pred, eps=eps)
    return 1 - ops.siou(pred, target, eps=eps, neg_gamma=neg_gamma).clamp(min=-1, max=1)


@reducible
def nwd_loss(
    pred: Tensor, target: Tensor, *, constant: float = 12.8, mode: str = 'linear'
) -> Tensor:
    """``1 - NWD`` (linear) or ``-ln NWD`` (log), by the Wasserstein distance of Gaussians.

    J. Wang et al., A Normalized Gaussian Wasserstein Distance (2021), equation 7.

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        constant: Scale in pixels, about the size of the objects.
        mode: ``'linear'`` as in the paper, whose slope dies out with distance, or
            ``'log'``, the distance itself over ``constant``.
    """
    _check('nwd_loss', pred, constant=constant)
    check_choice('nwd_loss', 'mode', mode, NWD_MODES)
    similarity = ops.nwd(pred, target, constant=constant)
    if mode == 'linear':
        return 1 - similarity
    return -similarity.clamp(min=torch.finfo(similarity.dtype).tiny).log()


@reducible
def bounded_iou_loss(
    pred: Tensor, target: Tensor, *, beta: float = 0.2, eps: float = 1e-3
) -> Tensor:
    """Smoothed upper bounds of the IoU, one a coordinate: ``(K, 4)`` of x, y, w, h.

    ``1 - max((w - 2 |dx|) / (w + 2 |dx|), 0)`` of the centre and ``1 - min(w / w', w' / w)``
    of the size, under a smooth L1 loss.

    Source: L. Tychsen-Smith and L. Petersson, Improving Object Localization with Fitness
    NMS and Bounded IoU Loss (2018), equations 10 to 13.

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy; takes no gradient.
        beta: Where the parabola of the smooth L1 loss ends.
        eps: Keeps denominators from 0.
    """
    _check('bounded_iou_loss', pred, beta=beta, eps=eps)
    target = target.detach()
    sizes = (pred[..., 2:] - pred[..., :2]).clamp(min=0)
    target_sizes = (target[..., 2:] - target[..., :2]).clamp(min=0)
    gap = ((target[..., 2:] + target[..., :2]) - (pred[..., 2:] + pred[..., :2])).abs()  # 2 |dx|
    center = 1 - ((target_sizes - gap) / (target_sizes + gap + eps)).clamp(min=0)
    size = 1 - torch.min(target_sizes / (sizes + eps), sizes / (target_sizes + eps))
    loss = torch.cat((center, size), dim=-1)
    return torch.where(loss < beta, 0.5 * loss.square() / beta, loss - 0.5 * beta)


@reducible
def yolo_iou_loss(
    pred: Tensor,
    target: Tensor,
    *,
    iou_mode: str = 'ciou',
    bbox_format: str = 'xywh',
    eps: float = 1e-7,
) -> Tensor:
    """``1 - IoU`` of any mode, in the forms the YOLO family trains with.

    CIoU without the threshold on alpha, SIoU with the paper's sign.

    Args:
        pred: ``(K, 4)``, see ``bbox_format``.
        target: ``(K, 4)``.
        iou_mode: ``'ciou'``, ``'giou'`` or ``'siou'``.
        bbox_format: ``'xywh'`` (centre and size) or ``'xyxy'``.
        eps: Keeps denominators from 0.
    """
    _check('yolo_iou_loss', pred, eps=eps)
    check_choice('yolo_iou_loss', 'bbox_format', bbox_format, BOX_FORMATS)
    check_choice('yolo_iou_loss', 'iou_mode', iou_mode, YOLO_MODES)
    if bbox_format == 'xywh':
        pred, target = ops.cxcywh_to_xyxy(pred), ops.cxcywh_to_xyxy(target)
    if iou_mode == 'ciou':
        overlap = ops.ciou(pred, target, eps=eps, alpha_threshold=None)
    elif iou_mode == 'giou':
        overlap = ops.giou(pred, target, eps=eps)
    else:
        overlap = ops.siou(pred, target, eps=eps)
    return 1 - overlap.clamp(min=-1, max=1)
