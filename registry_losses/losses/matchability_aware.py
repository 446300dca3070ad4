"""Matchability-aware loss: qualities as targets, raised to the power that damps the negatives.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..registry import MODELS
from .base import require_sigmoid
from .checks import check_numbers
from .fused.negatives import PowerNegative
from .quality_focal import power_of_gap
from .sigmoid import SigmoidLoss, SigmoidRule, binary_cross_entropy, class_setting, sigmoid_loss
from .targets import Target


def matchability_aware_elements(
    x: Tensor, value: Tensor, positive: Tensor, gamma: float = 1.5
) -> Tensor:
    """``BCE(p, v^gamma)`` of positives, ``|p - v|^gamma BCE(p, v)`` elsewhere, single logits.

    S. Huang et al., DEIM: DETR with Improved Matching for Fast Convergence (2024), the
    matchability-aware loss, which has negatives of value 0 alone: ``-p^gamma log(1 - p)``.

    Args:
        x: Logits, any shape.
        value: Their targets in [0, 1], the overlap of the match.
        positive: bool, which are positives.
        gamma: How fast well classified negatives lose weight, and the power of the overlaps.
    """
    tiny = torch.finfo(x.dtype).tiny
    matched = binary_cross_entropy(x, value.clamp(min=tiny).pow(gamma))
    elsewhere = power_of_gap(x.sigmoid(), value, gamma) * binary_cross_entropy(x, value)
    return torch.where(positive, matched, elsewhere)


def matchability_aware_loss(
    pred: Tensor,
    target: Target,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    gamma: float = 1.5,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
    compile: bool = False,
) -> Tensor:
    """Matchability-aware loss: :func:`matchability_aware_elements` of every logit.

    Args:
        pred: ``(R, C)`` logits.
        target: :class:`ClassTargets`, int labels ``(R,)`` or dense values, of which those
            above 0 are positives.
        weight: ``(R,)`` or ``(R, C)``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        gamma: How fast well classified negatives lose weight, at least 0.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        loss_weight: The loss is multiplied by it.
        compile: On the CPU, run the fused pass as compiled C.
    """
    check_numbers('matchability_aware_loss', low=0, gamma=gamma)
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: matchability_aware_elements(
            x, value, positive, gamma
        ),
        on_negatives=PowerNegative(gamma),  # p^gamma softplus(x)
        class_weight=class_setting('class_weight', class_weight, pred),
    )
    return sigmoid_loss(
        pred,
        target,
        weight,
        rule,
        owner='MatchabilityAwareLoss',
        reduction=reduction,
        avg_factor=avg_factor,
        loss_weight=loss_weight,
        compile=compile,
    )


@MODELS.register_module()
class MatchabilityAwareLoss(SigmoidLoss):
    """MAL: ``BCE(p, v^gamma)`` where there is an object, ``-p^gamma log(1 - p)`` elsewhere.

    Unlike :class:`VarifocalLoss`, poor matches keep their weight: v lowers what a positive
    aims at, not how much it counts. See :func:`matchability_aware_loss`.

    Source: S. Huang et al., DEIM: DETR with Improved Matching for Fast Convergence (2024).
    Gaussian targets around a positive, of which the paper knows none, count as
    negatives with a value.

    Plain formula: ``matchability_aware`` in ``testing/reference/losses/classes.py``.

    Args:
        gamma: How fast well classified negatives lose weight, at least 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        use_sigmoid: There is no other form.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

    def __init__(
        self,
        gamma: float = 1.5,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
        *,
        class_weight: Sequence[float] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight, compile)
        require_sigmoid(self, use_sigmoid)
        check_numbers(self, low=0, gamma=gamma)
        self.gamma = gamma

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """:func:`matchability_aware_loss`."""
        return matchability_aware_loss(
            pred,
            target,
            weight,
            reduction,
            avg_factor,
            gamma=self.gamma,
            class_weight=self.class_weight,
            loss_weight=self.loss_weight,
            compile=self.compiled,
        )
