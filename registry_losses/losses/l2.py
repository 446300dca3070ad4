"""The L2 loss of similarities, with margins and a share of negatives.

Shapes: any; in a head R rows, 1 column.
"""

import torch
from torch import Tensor

from ..registry import MODELS
from ..structures import ClassTargets
from .base import BaseLoss, need_tensor
from .checks import check_call, check_flags, check_numbers, check_same_shape
from .reduction import expand_weight, in_float, like_pred, reduce_loss
from .targets import Target, row_weight


def l2_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    *,
    neg_pos_ub: float = -1,
    pos_margin: float = -1,
    neg_margin: float = -1,
    hard_mining: bool = False,
) -> Tensor:
    """``(min(max(pred - margin, 0), 1) - target)^2``, the margin that of positives or negatives.

    Positives have the target 1, negatives 0. OpenMMLab's L2Loss (MMDetection 3.3), after
    J. Pang et al., Quasi-Dense Similarity Learning for Multiple Object Tracking (2021).

    Args:
        pred: Similarities, any shape.
        target: Its shape.
        weight: Its shape, or of its rows; elements of no weight are neither.
        reduction: ``'none'``, ``'mean'`` (over the elements that have a weight) or ``'sum'``.
        neg_pos_ub: How many negatives count for each positive at most; all if not above 0.
        pos_margin: Taken from positives, if above 0.
        neg_margin: Taken from negatives, if above 0.
        hard_mining: Whether the worst negatives are kept, not any.
    """
    check_call(pred, weight, reduction, None)
    check_numbers('l2_loss', neg_pos_ub=neg_pos_ub, pos_margin=pos_margin, neg_margin=neg_margin)
    target = like_pred(check_same_shape(pred, target), pred)
    x = in_float(pred)
    weight = torch.ones_like(x) if weight is None else expand_weight(weight, x).expand_as(x)
    positive, negative = (weight > 0) & (target == 1), (weight > 0) & (target == 0)
    margin = max(pos_margin, 0) * positive + max(neg_margin, 0) * negative
    loss = ((x - margin).clamp(0, 1) - target).square()
    if neg_pos_ub > 0:
        rank = loss.detach() if hard_mining else torch.rand_like(loss)
        weight = weight * (~negative | _largest(rank, negative, positive.sum() * neg_pos_ub))
    count = (weight > 0).sum() if reduction == 'mean' else None
    return reduce_loss(loss, reduction, weight, count)


def _largest(rank: Tensor, among: Tensor, count: Tensor) -> Tensor:
    """Which elements are the ``count`` largest among some."""
    order = torch.where(among, rank, -1).flatten().argsort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(order.numel(), device=order.device)
    return (place < count.long()).reshape(rank.shape)


@MODELS.register_module()
class L2Loss(BaseLoss):
    """:func:`l2_loss` of similarities in [0, 1]; for plain squares take MSELoss.

    Plain formula: ``l2`` in ``testing/reference/losses/differences.py``.

    Args:
        neg_pos_ub: How many negatives count for each positive at most; all if not above 0.
        pos_margin: Taken from positives, if above 0.
        neg_margin: Taken from negatives, if above 0.
        hard_mining: Whether the worst negatives are kept, not any.
        reduction: ``'none'``, ``'mean'`` (whatever ``avg_factor`` is, over the elements that
            have a weight) or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    kinds = ('objectness',)

    def __init__(
        self,
        neg_pos_ub: float = -1,
        pos_margin: float = -1,
        neg_margin: float = -1,
        hard_mining: bool = False,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        check_numbers(self, neg_pos_ub=neg_pos_ub, pos_margin=pos_margin, neg_margin=neg_margin)
        check_flags(self, hard_mining=hard_mining)
        self.neg_pos_ub = neg_pos_ub
        self.pos_margin = pos_margin
        self.neg_margin = neg_margin
        self.hard_mining = hard_mining

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """:func:`l2_loss`."""
        if isinstance(target, ClassTargets):
            weight, target = row_weight(weight, target), target.dense()
        return self.loss_weight * l2_loss(
            pred,
            need_tensor(self, target),
            weight,
            reduction,
            neg_pos_ub=self.neg_pos_ub,
            pos_margin=self.pos_margin,
            neg_margin=self.neg_margin,
            hard_mining=self.hard_mining,
        )
