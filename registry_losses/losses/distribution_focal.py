"""Distribution focal loss.

Shapes: R rows (box sides), n + 1 bins.
"""

import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError
from ..registry import MODELS
from .base import BaseLoss, need_tensor
from .checks import check_floating
from .reduction import in_float, like_pred, reduce_loss
from .targets import Target


def distribution_focal_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
) -> Tensor:
    """``-((y_{i+1} - y) log p_i + (y - y_i) log p_{i+1})``, y between the bins i and i + 1.

    Source: X. Li et al., Generalized Focal Loss (2020), equation 6.

    Args:
        pred: ``(R, n + 1)`` logits.
        target: ``(R,)`` in [0, n], in bins; beyond it counts as at its end.
        weight: ``(R,)``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.

    Raises:
        ShapeError: If rows do not fit or there are fewer than two bins.
    """
    check_floating('pred', pred)
    if not isinstance(target, Tensor):
        raise ShapeError(f'target: expected a tensor (R,), got {type(target).__name__}')
    if pred.dim() != 2 or pred.shape[1] < 2 or tuple(target.shape) != tuple(pred.shape[:1]):
        raise ShapeError(
            'pred and target: expected (R, n + 1) with n > 0 and (R,), got '
            f'{tuple(pred.shape)} and {tuple(target.shape)}'
        )
    log_p = F.log_softmax(in_float(pred), dim=1)
    last = pred.shape[1] - 1
    target = like_pred(target, pred).clamp(0, last)
    # y = n belongs to the last pair of bins: there is none to its right.
    left = target.detach().long().clamp(max=last - 1)
    share = target - left
    loss = -(1 - share) * log_p.gather(1, left[:, None]).squeeze(1)
    loss = loss - share * log_p.gather(1, left[:, None] + 1).squeeze(1)
    return reduce_loss(loss, reduction, weight, avg_factor)


@MODELS.register_module()
class DistributionFocalLoss(BaseLoss):
    """:func:`distribution_focal_loss`, for boxes whose sides are distributions.

    Plain formula: ``distribution_focal`` in ``testing/reference/losses/classes.py``.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    kinds = ('distribution',)

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """See :meth:`BaseLoss.compute`."""
        target = need_tensor(self, target)
        return self.loss_weight * distribution_focal_loss(
            pred, target, weight=weight, reduction=reduction, avg_factor=avg_factor
        )
