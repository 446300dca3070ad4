"""Poly-1 losses: cross entropy or focal loss with another first coefficient.

Shapes: R rows (class vectors), C classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..registry import MODELS
from .checks import check_numbers
from .focal import (
    Alpha,
    FocalLoss,
    alpha_of,
    balance,
    power_of_miss,
    read_alpha,
    sigmoid_focal_elements,
    softmax_focal_cost,
)
from .fused.negatives import PowerNegative
from .sigmoid import SigmoidRule, class_setting, sigmoid_loss
from .softmax import softmax_loss
from .targets import Target


def sigmoid_poly_elements(
    x: Tensor, value: Tensor, epsilon: float, gamma: float, alpha: float | Tensor | None
) -> Tensor:
    """``a (m^gamma BCE(x, v) + epsilon m^(gamma + 1))``: focal loss and one more power of m.

    m and a are those of :func:`.focal.sigmoid_focal_elements`: the probability of being wrong,
    and the balance of positives and negatives.
    """
    extra = epsilon * power_of_miss(x, value, gamma + 1)
    return sigmoid_focal_elements(x, value, gamma, alpha) + balance(value, alpha) * extra


def softmax_poly_cost(
    log_p: Tensor, epsilon: float, gamma: float, alpha: float | Tensor | None
) -> Tensor:
    """``alpha_y (-(1 - p_y)^gamma log p_y + epsilon (1 - p_y)^(gamma + 1))`` of every class y."""
    miss = -torch.expm1(log_p)
    extra = epsilon * miss.clamp(min=torch.finfo(log_p.dtype).tiny).pow(gamma + 1)
    extra = extra if alpha is None else extra * alpha
    return softmax_focal_cost(log_p, gamma, alpha) + extra


def poly_loss(
    pred: Tensor,
    target: Target,
    weight: Tensor | None = None,
    *,
    use_sigmoid: bool = True,
    epsilon: float = 1.0,
    gamma: float = 0.0,
    alpha: Alpha = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
    compile: bool = False,
) -> Tensor:
    """Poly-1 loss: :func:`sigmoid_poly_elements` of every logit, or :func:`softmax_poly_cost`.

    Args:
        pred: ``(R, C)`` logits; for a softmax ``(R, C + 1)``, background last.
        target: :class:`ClassTargets`, int labels ``(R,)`` or dense values.
        weight: ``(R,)``, with a sigmoid also ``(R, C)``.
        use_sigmoid: Independent classes; False for a softmax.
        epsilon: What is added to the coefficient of the first power.
        gamma: 0 for Poly-1 cross entropy, above for Poly-1 focal loss; at least 0.
        alpha: See :func:`.focal.sigmoid_focal_loss`; None for no balance at all.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        class_weight: One number of at least 0 a class that multiplies its losses.
        loss_weight: The loss is multiplied by it.
        compile: On the CPU, run the fused pass as compiled C.
    """
    check_numbers('poly_loss', low=0, gamma=gamma)
    check_numbers('poly_loss', epsilon=epsilon)
    alpha = read_alpha('poly_loss', alpha, pred, highest=1.0 if use_sigmoid else math.inf)
    shared: dict[str, Any] = dict(
        owner='PolyLoss', reduction=reduction, avg_factor=avg_factor, loss_weight=loss_weight
    )
    if not use_sigmoid:
        return softmax_loss(
            pred,
            target,
            weight,
            lambda log_p: softmax_poly_cost(log_p, epsilon, gamma, alpha),
            class_weight=class_weight,
            **shared,
        )
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: sigmoid_poly_elements(
            x, value, epsilon, gamma, alpha_of(alpha, column)
        ),
        on_negatives=PowerNegative(gamma, epsilon),  # p^gamma (softplus(x) + epsilon p)
        negative_weight=1.0 if alpha is None else 1 - alpha,
        positive_weight=1.0 if alpha is None else alpha,
        class_weight=class_setting('class_weight', class_weight, pred),
    )
    return sigmoid_loss(pred, target, weight, rule, compile=compile, **shared)


@MODELS.register_module()
class PolyLoss(FocalLoss):
    """Poly-1: cross entropy or focal loss with another first polynomial coefficient.

    ``a (m^gamma CE + epsilon m^(gamma + 1))`` with m, the probability of being wrong, and
    the balance a of :class:`FocalLoss`, by :func:`poly_loss`: the logarithm is a series in m,
    of which the first coefficient alone is changed.

    Source: Z. Leng et al., PolyLoss (2022), the Poly-1 loss of cross entropy (gamma 0) and
    of the focal loss. Deviation: alpha balances both terms; the paper's formulas leave it
    out.

    Plain formula: ``poly`` and ``softmax_poly`` in ``testing/reference/losses/classes.py``.

    Args:
        use_sigmoid: Independent classes; False for a softmax with background last.
        epsilon: What is added to the coefficient of the first power.
        gamma: 0 for Poly-1 cross entropy, above for Poly-1 focal loss; at least 0.
        alpha: See :class:`FocalLoss`; None for no balance at all.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        class_weight: One number of at least 0 a class that multiplies its losses.
        activation: ``'sigmoid'`` or ``'softmax'``, in place of ``use_sigmoid``.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        epsilon: float = 1.0,
        gamma: float = 0.0,
        alpha: float | Sequence[float] | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        *,
        class_weight: Sequence[float] | None = None,
        activation: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(
            use_sigmoid,
            gamma,
            alpha,
            reduction,
            loss_weight,
            activation=activation,
            class_weight=class_weight,
            compile=compile,
        )
        check_numbers(self, epsilon=epsilon)
        self.epsilon = epsilon

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """:func:`poly_loss`."""
        return poly_loss(
            pred,
            target,
            weight,
            use_sigmoid=self.use_sigmoid,
            epsilon=self.epsilon,
            gamma=self.gamma,
            alpha=self.alphas,
            reduction=reduction,
            avg_factor=avg_factor,
            class_weight=self.class_weight,
            loss_weight=self.loss_weight,
            compile=self.compiled,
        )
