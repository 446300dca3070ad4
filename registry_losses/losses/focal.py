"""Focal loss.

Shapes: R rows, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..registry import MODELS
from .sigmoid import SigmoidLoss, binary_cross_entropy


def sigmoid_focal_elements(x: Tensor, value: Tensor, gamma: float, alpha: float | Tensor) -> Tensor:
    """Focal loss of each logit against a target value in [0, 1]."""
    p = x.sigmoid()
    miss = (1 - p) * value + p * (1 - value)
    balance = alpha * value + (1 - alpha) * (1 - value)
    return balance * miss.pow(gamma) * binary_cross_entropy(x, value)


@MODELS.register_module()
class FocalLoss(SigmoidLoss):
    """Focal loss.

    Args:
        use_sigmoid: Independent classes.
        gamma: How fast well classified examples lose weight.
        alpha: Weight of the positives; ``1 - alpha`` of the negatives.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        activated: Whether ``pred`` are probabilities already.
        class_weight: C numbers that multiply the losses of each class.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float = 0.25,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
        *,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight)
        self.gamma = gamma
        self.alpha = alpha
        self.activated = activated

    def at(self, x: Tensor, value: Tensor, positive: Tensor) -> Tensor:
        """See :func:`sigmoid_focal_elements`."""
        return sigmoid_focal_elements(x, value, self.gamma, self.alpha)
