"""Asymmetric loss.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..registry import MODELS
from ..structures import ClassTargets
from .base import require_sigmoid
from .negatives import ElementNegative, Negative, PowerNegative, softplus
from .sigmoid import Column, SigmoidLoss


def asymmetric_loss(
    pred: Tensor,
    target: Tensor | ClassTargets,
    *,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    clip: float = 0.05,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | None = None,
) -> Tensor:
    """Asymmetric loss; see :class:`AsymmetricLoss`."""
    loss = AsymmetricLoss(gamma_pos, gamma_neg, clip, reduction, class_weight=class_weight).to(
        pred.device
    )
    return loss(pred, target, weight, avg_factor)


@MODELS.register_module()
class AsymmetricLoss(SigmoidLoss):
    """Focal loss with another gamma for negatives, and easy negatives left out.

    ``-v (1 - p)^gamma_pos log p - (1 - v) p_m^gamma_neg log(1 - p_m)`` with
    ``p_m = max(p - clip, 0)``.

    Source: T. Ridnik et al., Asymmetric Loss for Multi-Label Classification (2021),
    equations 4 to 7.

    Args:
        gamma_pos: Focusing of the positives.
        gamma_neg: Focusing of the negatives.
        clip: Negatives with a probability below it cost nothing, in [0, 1).
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        use_sigmoid: There is no other form.
        class_weight: C numbers that multiply the losses of each class.
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
        if not 0 <= clip < 1:
            raise ConfigError(f'AsymmetricLoss: clip must be in [0, 1), got {clip}')
        self.gamma_pos = gamma_pos
        self.gamma_neg = gamma_neg
        self.clip = clip

    def negative(self) -> Negative:
        """``-p_m^gamma_neg log(1 - p_m)``."""
        if self.clip == 0:
            return PowerNegative(self.gamma_neg)
        return ElementNegative(self._clipped)

    def _clipped(self, x: Tensor) -> Tensor:
        p = (torch.sigmoid(x) - self.clip).clamp(min=0)
        loss = -torch.log1p(-p)
        if self.gamma_neg:
            loss = loss * p.clamp(min=torch.finfo(x.dtype).tiny).pow(self.gamma_neg)
        return loss

    def at(self, x: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """See the class."""
        hit = torch.exp(self.gamma_pos * F.logsigmoid(-x)) * softplus(-x)
        return value * hit + (1 - value) * self.negative()(x)
