"""Equalized focal loss: the rarer the class, the sharper its focus.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..registry import MODELS
from .base import require_sigmoid
from .checks import check_numbers
from .fused.negatives import PowerNegative
from .gradient_balance import BalancedByGradients, dense_of, read_ratio
from .sigmoid import SigmoidRule, binary_cross_entropy, class_setting, sigmoid_loss
from .targets import Target


def equalized_focal_elements(
    x: Tensor, value: Tensor, ratio: Tensor, gamma: float, scale: float, alpha: float
) -> Tensor:
    """``(gamma_c / gamma) FL(x, v)``, the focal loss with a ``gamma_c`` for each class.

    ``gamma_c = gamma + scale (1 - g_c)``. B. Li et al., Equalized Focal Loss (2022),
    the category-relevant modulating factor.

    Args:
        x: ``(..., C)`` logits.
        value: Their targets in [0, 1].
        ratio: ``(C,)`` g in [0, 1].
        gamma: The focus of a balanced class, above 0.
        scale: What is added to it for a class without positives.
        alpha: See :func:`.focal.sigmoid_focal_elements`.
    """
    focus = gamma + scale * (1 - ratio)
    p = torch.sigmoid(x)
    miss = (value * (1 - p) + (1 - value) * p).clamp(min=torch.finfo(x.dtype).tiny)
    factor = focus / gamma * (alpha * value + (1 - alpha) * (1 - value))
    return factor * miss.pow(focus) * binary_cross_entropy(x, value)


def equalized_focal_loss(
    pred: Tensor,
    target: Target,
    ratio: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    gamma: float = 2.0,
    scale: float = 8.0,
    alpha: float = 0.25,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
) -> Tensor:
    """Equalized focal loss: :func:`equalized_focal_elements` of every logit.

    The focus of a class is its own, which no fused pass has: sparse targets become dense.

    Args:
        pred: ``(R, C)`` logits.
        target: :class:`ClassTargets`, int labels ``(R,)`` or dense values.
        ratio: ``(C,)`` gradients of positives over those of negatives; above 1 counts as 1.
        weight: ``(R,)`` or ``(R, C)``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        gamma: The focus of a balanced class, above 0.
        scale: What is added to it for a class without positives, at least 0.
        alpha: Weight of the positives against ``1 - alpha`` of the negatives, in [0, 1].
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        loss_weight: The loss is multiplied by it.
    """
    check_numbers('equalized_focal_loss', low=0, above=True, gamma=gamma)
    check_numbers('equalized_focal_loss', low=0, scale=scale)
    check_numbers('equalized_focal_loss', low=0, high=1, alpha=alpha)
    g = read_ratio(pred, ratio).clamp(0, 1)
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: equalized_focal_elements(
            x, value, g.to(x), gamma, scale, alpha
        ),
        on_negatives=PowerNegative(gamma),  # never used: every target is dense
        class_weight=class_setting('class_weight', class_weight, pred),
    )
    target, weight = dense_of(pred, target, weight, 'EqualizedFocalLoss')
    return sigmoid_loss(
        pred,
        target,
        weight,
        rule,
        owner='EqualizedFocalLoss',
        reduction=reduction,
        avg_factor=avg_factor,
        loss_weight=loss_weight,
    )


@MODELS.register_module()
class EqualizedFocalLoss(BalancedByGradients):
    """Focal loss whose focus each class has for itself, by the gradients it has had.

    See :func:`equalized_focal_loss` and :func:`equalized_focal_elements`. The ratio starts at 1:
    focal loss.

    Source: B. Li et al., Equalized Focal Loss for Dense Long-Tailed Object Detection (2022).
    Deviation: what is added up are the gradients of the cross entropy,
    ``|p - v|``, as in :class:`EQLV2Loss`, not those of the loss itself.

    Plain formula: ``equalized_focal`` in ``testing/reference/losses/classes.py``.

    Args:
        num_classes: C.
        gamma: The focus of a balanced class, above 0.
        scale: What is added to it for a class without positives, at least 0.
        alpha: Weight of the positives against ``1 - alpha`` of the negatives, in [0, 1].
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        use_sigmoid: There is no other form.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
    """

    def __init__(
        self,
        num_classes: int = 1203,
        gamma: float = 2.0,
        scale: float = 8.0,
        alpha: float = 0.25,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
        *,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(num_classes, reduction, loss_weight, class_weight)
        require_sigmoid(self, use_sigmoid)
        check_numbers(self, low=0, above=True, gamma=gamma)
        check_numbers(self, low=0, scale=scale)
        check_numbers(self, low=0, high=1, alpha=alpha)
        self.gamma = gamma
        self.scale = scale
        self.alpha = alpha

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """:func:`equalized_focal_loss`; in training the batch is counted afterwards."""
        self.check_rows(pred)
        loss = equalized_focal_loss(
            pred,
            target,
            self.pos_neg.clone(),
            weight,
            reduction,
            avg_factor,
            gamma=self.gamma,
            scale=self.scale,
            alpha=self.alpha,
            class_weight=self.class_weight,
            loss_weight=self.loss_weight,
        )
        if self.training:
            one = torch.ones_like(self.pos_neg)
            self.count(pred, target, weight, (one, one))
        return loss
