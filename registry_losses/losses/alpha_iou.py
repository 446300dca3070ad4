"""Alpha-IoU: the IoU losses with their terms raised to a power.

Shapes: K pairs; boxes are xyxy in pixels.
"""

import torch
from torch import Tensor

from .. import ops
from ..registry import MODELS
from .checks import check_choice, check_numbers
from .overlap import OverlapLoss, check_boxes
from .reduction import reducible

ALPHA_MODES = ('iou', 'giou', 'diou', 'ciou')


@reducible
def alpha_iou_loss(
    pred: Tensor, target: Tensor, *, alpha: float = 3.0, mode: str = 'ciou', eps: float = 1e-6
) -> Tensor:
    """``1 - IoU^alpha``, plus each penalty of ``mode`` to the power of alpha.

    The penalties are those of GIoU (the share of the enclosing box that neither covers), DIoU
    (``d^2 / c^2``) and CIoU (also ``beta v``, whose weight beta takes no gradient). With an
    alpha above 1 boxes of high IoU count more. J. He et al., Alpha-IoU (2021).

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        alpha: The power, above 0; 1 is the loss of ``mode``, 3 the paper's choice.
        mode: ``'iou'``, ``'giou'``, ``'diou'`` or ``'ciou'``.
        eps: Keeps denominators from 0.
    """
    check_boxes('alpha_iou_loss', pred, alpha=alpha, eps=eps)
    check_choice('alpha_iou_loss', 'mode', mode, ALPHA_MODES)
    overlap = ops.iou(pred, target, eps=eps)
    loss = 1 - _power(overlap, alpha)
    if mode == 'giou':
        loss = loss + _power(overlap - ops.giou(pred, target, eps=eps), alpha)
    if mode in ('diou', 'ciou'):
        loss = loss + _power(ops.BoxPair(pred, target).center_penalty(eps), alpha)
    if mode == 'ciou':
        diou = ops.diou(pred, target, eps=eps)
        ciou = ops.ciou(pred, target, eps=eps, alpha_threshold=None)
        loss = loss + _power(diou - ciou, alpha)
    return loss


def _power(term: Tensor, alpha: float) -> Tensor:
    """``term^alpha``, its gradient finite at 0."""
    if alpha == 1:
        return term
    tiny = torch.finfo(term.dtype).tiny
    return torch.where(term > tiny, term.clamp(min=tiny).pow(alpha), 0)


@MODELS.register_module()
class AlphaIoULoss(OverlapLoss):
    """:func:`alpha_iou_loss`; settings as in :class:`.OverlapLoss`, and more.

    Plain formula: ``alpha_iou`` in ``testing/reference/losses/boxes.py``.

    Args:
        alpha: The power, above 0.
        mode: ``'iou'``, ``'giou'``, ``'diou'`` or ``'ciou'``.
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    function = staticmethod(alpha_iou_loss)
    settings = ('alpha', 'mode', 'eps')

    def __init__(
        self,
        alpha: float = 3.0,
        mode: str = 'ciou',
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        check_numbers(self, low=0, above=True, alpha=alpha)
        check_choice(self, 'mode', mode, ALPHA_MODES)
        self.alpha = alpha
        self.mode = mode
