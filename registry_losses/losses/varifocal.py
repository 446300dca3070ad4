"""Varifocal loss: qualities as targets, negatives damped, positives not.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..registry import MODELS
from .base import require_sigmoid
from .checks import check_flags, check_numbers
from .fused.negatives import PowerNegative
from .quality_focal import power_of_gap
from .sigmoid import SigmoidLoss, SigmoidRule, binary_cross_entropy, class_setting, sigmoid_loss
from .targets import Target


def varifocal_elements(
    x: Tensor,
    value: Tensor,
    positive: Tensor,
    alpha: float = 0.75,
    gamma: float = 2.0,
    iou_weighted: bool = True,
) -> Tensor:
    """``v BCE(p, v)`` of positives, ``alpha |p - v|^gamma BCE(p, v)`` elsewhere, single logits.

    H. Zhang et al., VarifocalNet (2021), the varifocal loss.

    Args:
        x: Logits, any shape.
        value: Their targets in [0, 1].
        positive: bool, which are positives.
        alpha: Weight of the negatives.
        gamma: How fast well classified negatives lose weight.
        iou_weighted: Whether positives weigh as much as their quality; else 1.
    """
    of_positive = value if iou_weighted else torch.ones_like(value)
    elsewhere = alpha * power_of_gap(x.sigmoid(), value, gamma)
    return torch.where(positive, of_positive, elsewhere) * binary_cross_entropy(x, value)


def varifocal_loss(
    pred: Tensor,
    target: Target,
    weight: Tensor | None = None,
    *,
    alpha: float = 0.75,
    gamma: float = 2.0,
    iou_weighted: bool = True,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
    compile: bool = False,
) -> Tensor:
    """Varifocal loss: :func:`varifocal_elements` of every logit.

    Args:
        pred: ``(R, C)`` logits.
        target: :class:`ClassTargets`, int labels ``(R,)`` or dense values, of which those
            above 0 are positives.
        weight: ``(R,)`` or ``(R, C)``.
        alpha: Weight of the negatives, at least 0.
        gamma: How fast well classified negatives lose weight, at least 0.
        iou_weighted: Whether positives weigh as much as their quality; else 1.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        loss_weight: The loss is multiplied by it.
        compile: On the CPU, run the fused pass as compiled C.
    """
    check_numbers('varifocal_loss', low=0, alpha=alpha, gamma=gamma)
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: varifocal_elements(
            x, value, positive, alpha, gamma, iou_weighted
        ),
        on_negatives=PowerNegative(gamma),  # p^gamma softplus(x)
        negative_weight=alpha,
        class_weight=class_setting('class_weight', class_weight, pred),
    )
    return sigmoid_loss(
        pred,
        target,
        weight,
        rule,
        owner='VarifocalLoss',
        reduction=reduction,
        avg_factor=avg_factor,
        loss_weight=loss_weight,
        compile=compile,
    )


@MODELS.register_module()
class VarifocalLoss(SigmoidLoss):
    """``v BCE(p, v)`` where there is an object, ``alpha |p - v|^gamma BCE(p, v)`` elsewhere.

    Positives are not damped: they are few, and the good ones matter most. See
    :func:`varifocal_loss`.

    Source: H. Zhang et al., VarifocalNet (2021). Gaussian targets around a positive, of
    which the paper knows none, count as negatives with a value.

    Plain formula: ``varifocal`` in ``testing/reference/losses/classes.py``.

    Args:
        use_sigmoid: There is no other form.
        alpha: Weight of the negatives, at least 0.
        gamma: How fast well classified negatives lose weight, at least 0.
        iou_weighted: Whether positives weigh as much as their quality; else 1.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        iou_weighted: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        *,
        class_weight: Sequence[float] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight, compile)
        require_sigmoid(self, use_sigmoid)
        check_numbers(self, low=0, alpha=alpha, gamma=gamma)
        check_flags(self, iou_weighted=iou_weighted)
        self.alpha = alpha
        self.gamma = gamma
        self.iou_weighted = iou_weighted

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """:func:`varifocal_loss`."""
        return varifocal_loss(
            pred,
            target,
            weight,
            alpha=self.alpha,
            gamma=self.gamma,
            iou_weighted=self.iou_weighted,
            reduction=reduction,
            avg_factor=avg_factor,
            class_weight=self.class_weight,
            loss_weight=self.loss_weight,
            compile=self.compiled,
        )
