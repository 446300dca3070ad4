"""Asymmetric loss: another focus for negatives, and easy negatives left out.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import MODELS
from .base import require_sigmoid
from .checks import check_numbers
from .fused.clipped import ClippedNegative
from .fused.negatives import Negative, PowerNegative, softplus
from .sigmoid import SigmoidLoss, SigmoidRule, class_setting, sigmoid_loss
from .targets import Target


def asymmetric_elements(
    x: Tensor, value: Tensor, gamma_pos: float, gamma_neg: float, clip: float
) -> Tensor:
    """``-v (1 - p)^gamma_pos log p - (1 - v) p_m^gamma_neg log(1 - p_m)``, single logits.

    ``p_m = max(p - clip, 0)`` shifts the probability of negatives: below ``clip`` they cost
    nothing. T. Ridnik et al., Asymmetric Loss for Multi-Label Classification (2021),
    the definition of ASL.
    """
    hit = torch.exp(gamma_pos * F.logsigmoid(-x)) * softplus(-x)
    return value * hit + (1 - value) * _on_negatives(gamma_neg, clip)(x)


def _on_negatives(gamma: float, clip: float) -> Negative:
    """``-p_m^gamma log(1 - p_m)``."""
    return PowerNegative(gamma) if clip == 0 else ClippedNegative(gamma, clip)


def asymmetric_loss(
    pred: Tensor,
    target: Target,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    clip: float = 0.05,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
) -> Tensor:
    """Asymmetric loss: :func:`asymmetric_elements` of every logit.

    Args:
        pred: ``(R, C)`` logits.
        target: :class:`ClassTargets`, int labels ``(R,)`` or dense values.
        weight: ``(R,)`` or ``(R, C)``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        gamma_pos: Focusing of the positives, at least 0.
        gamma_neg: Focusing of the negatives, at least 0.
        clip: Negatives with a probability below it cost nothing, in [0, 1).
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        loss_weight: The loss is multiplied by it.
    """
    _check('asymmetric_loss', gamma_pos, gamma_neg, clip)
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: asymmetric_elements(
            x, value, gamma_pos, gamma_neg, clip
        ),
        on_negatives=_on_negatives(gamma_neg, clip),
        class_weight=class_setting('class_weight', class_weight, pred),
    )
    return sigmoid_loss(
        pred,
        target,
        weight,
        rule,
        owner='AsymmetricLoss',
        reduction=reduction,
        avg_factor=avg_factor,
        loss_weight=loss_weight,
    )


def _check(owner: object, gamma_pos: float, gamma_neg: float, clip: float) -> None:
    check_numbers(owner, low=0, gamma_pos=gamma_pos, gamma_neg=gamma_neg)
    check_numbers(owner, low=0, high=1, below=True, clip=clip)


@MODELS.register_module()
class AsymmetricLoss(SigmoidLoss):
    """Focal loss with another gamma for negatives, and easy negatives left out.

    ``-v (1 - p)^gamma_pos log p - (1 - v) p_m^gamma_neg log(1 - p_m)`` with
    ``p_m = max(p - clip, 0)``, by :func:`asymmetric_loss`.

    Source: T. Ridnik et al., Asymmetric Loss for Multi-Label Classification (2021),
    the definition of ASL.

    Plain formula: ``asymmetric`` in ``testing/reference/losses/classes.py``.

    Args:
        gamma_pos: Focusing of the positives, at least 0.
        gamma_neg: Focusing of the negatives, at least 0.
        clip: Negatives with a probability below it cost nothing, in [0, 1).
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        use_sigmoid: There is no other form.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
    """

    def __init__(
        self,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        clip: float = 0.05,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
        *,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight)
        require_sigmoid(self, use_sigmoid)
        _check(self, gamma_pos, gamma_neg, clip)
        self.gamma_pos = gamma_pos
        self.gamma_neg = gamma_neg
        self.clip = clip

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """:func:`asymmetric_loss`."""
        return asymmetric_loss(
            pred,
            target,
            weight,
            reduction,
            avg_factor,
            gamma_pos=self.gamma_pos,
            gamma_neg=self.gamma_neg,
            clip=self.clip,
            class_weight=self.class_weight,
            loss_weight=self.loss_weight,
        )
