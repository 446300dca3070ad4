"""Equalization loss v2: rare classes keep their positives, and are spared negatives.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..registry import MODELS
from .base import require_sigmoid
from .checks import check_numbers
from .fused.negatives import PowerNegative, softplus
from .gradient_balance import BalancedByGradients, read_ratio
from .sigmoid import SigmoidRule, class_setting, sigmoid_loss
from .targets import Target


def equalization_weights(
    ratio: Tensor, mu: float = 0.8, alpha: float = 4.0, gamma: float = 12.0
) -> tuple[Tensor, Tensor]:
    """Weights ``(C,)`` of the positives and of the negatives of each class.

    Negatives ``f(g) = 1 / (1 + exp(-gamma (g - mu)))``, positives ``1 + alpha (1 - f(g))``.
    J. Tan et al., Equalization Loss v2 (2021), the gradient guided reweighing.

    Args:
        ratio: ``(C,)`` g: the gradients of positives over those of negatives so far.
        mu: Where the weight of negatives is 1/2.
        alpha: How much the positives may gain.
        gamma: How steeply the weights change.
    """
    negative = torch.sigmoid(gamma * (ratio - mu))
    return 1 + alpha * (1 - negative), negative


def equalization_loss_v2(
    pred: Tensor,
    target: Target,
    ratio: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    mu: float = 0.8,
    alpha: float = 4.0,
    gamma: float = 12.0,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
) -> Tensor:
    """Binary cross entropy by :func:`equalization_weights`, summed over the classes: ``(R,)``.

    Args:
        pred: ``(R, C)`` logits.
        target: :class:`ClassTargets`, int labels ``(R,)`` or dense values.
        ratio: ``(C,)``; see :func:`equalization_weights`.
        weight: ``(R,)`` or ``(R, C)``.
        reduction: ``'none'``, ``'mean'`` (over rows) or ``'sum'``.
        avg_factor: What a mean divides by.
        mu: See :func:`equalization_weights`.
        alpha: See :func:`equalization_weights`.
        gamma: See :func:`equalization_weights`.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        loss_weight: The loss is multiplied by it.
    """
    check_numbers('equalization_loss_v2', mu=mu)
    check_numbers('equalization_loss_v2', low=0, alpha=alpha, gamma=gamma)
    g = read_ratio(pred, ratio)
    on_positives, on_negatives = equalization_weights(g, mu, alpha, gamma)
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: (
            on_positives.to(x)[column] * value * softplus(-x)
            + on_negatives.to(x)[column] * (1 - value) * softplus(x)
        ),
        on_negatives=PowerNegative(0.0),  # softplus(x)
        negative_weight=on_negatives,
        positive_weight=on_positives,
        class_weight=class_setting('class_weight', class_weight, pred),
        by_row=True,
    )
    return sigmoid_loss(
        pred,
        target,
        weight,
        rule,
        owner='EQLV2Loss',
        reduction=reduction,
        avg_factor=avg_factor,
        loss_weight=loss_weight,
    )


@MODELS.register_module()
class EQLV2Loss(BalancedByGradients):
    """Equalization loss v2: binary cross entropy balanced by the gradients of each class.

    See :func:`equalization_loss_v2` and :func:`equalization_weights`; one loss a row, and a mean
    over rows. The ratio starts at 100: positives weigh 1, negatives 1.

    Source: J. Tan et al., Equalization Loss v2 (2021). Deviation from MMDetection:
    no objectness column; the sums are always those of all ranks.

    Plain formula: ``equalization_v2`` in ``testing/reference/losses/classes.py``.

    Args:
        use_sigmoid: There is no other form.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        loss_weight: The loss is multiplied by it.
        num_classes: C.
        mu: Where the weight of negatives is 1/2.
        alpha: How much the positives may gain, at least 0.
        gamma: How steeply the weights change, at least 0.
    """

    first_ratio = 100.0

    def __init__(
        self,
        use_sigmoid: bool = True,
        reduction: str = 'mean',
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        num_classes: int = 1203,
        *,
        mu: float = 0.8,
        alpha: float = 4.0,
        gamma: float = 12.0,
    ) -> None:
        super().__init__(num_classes, reduction, loss_weight, class_weight)
        require_sigmoid(self, use_sigmoid)
        check_numbers(self, mu=mu)
        check_numbers(self, low=0, alpha=alpha, gamma=gamma)
        self.mu = mu
        self.alpha = alpha
        self.gamma = gamma

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """:func:`equalization_loss_v2`; in training the batch is counted afterwards."""
        self.check_rows(pred)
        shape = dict(mu=self.mu, alpha=self.alpha, gamma=self.gamma)
        ratio = self.pos_neg.clone()
        loss = equalization_loss_v2(
            pred,
            target,
            ratio,
            weight,
            reduction,
            avg_factor,
            class_weight=self.class_weight,
            loss_weight=self.loss_weight,
            **shape,
        )
        if self.training:
            self.count(pred, target, weight, equalization_weights(ratio, **shape))
        return loss
