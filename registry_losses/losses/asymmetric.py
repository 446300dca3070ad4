"""Asymmetric loss.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import MODELS
from ..structures import ClassTargets
from .base import require_sigmoid
from .checks import check_numbers
from .fused.negatives import Negative, PowerNegative, Scratch, softplus
from .sigmoid import Column, SigmoidLoss


@dataclass(frozen=True)
class ClippedNegative(Negative):
    """``-d^gamma log(1 - d)`` with ``d = max(sigmoid(x) - clip, 0)`` and clip above 0.

    Its gradient is ``d^(gamma - 1) (d / (1 - d) - gamma log(1 - d)) p (1 - p)`` where d is
    above 0.
    """

    gamma: float
    clip: float
    closed_form = True

    def __call__(self, x: Tensor) -> Tensor:
        """See the class."""
        d = (torch.sigmoid(x) - self.clip).clamp(min=0)
        loss = -torch.log1p(-d)
        if self.gamma:
            loss = loss * d.clamp(min=torch.finfo(x.dtype).tiny).pow(self.gamma)
        return loss

    def chunk(
        self,
        x: Tensor,
        weigh: Callable[[Tensor], Tensor] | None,
        collect: Callable[[Tensor, float], None],
        scratch: Scratch,
        grad: Tensor | None,
        scale: float,
        robust: bool,
    ) -> None:
        """See :meth:`Negative.chunk`; no logit overflows here, so robust runs are alike."""
        d, s, power, gamma = scratch.a, scratch.b, scratch.c, self.gamma
        p = torch.sigmoid(x, out=d if grad is None else grad)
        torch.sub(p, self.clip, out=d).clamp_min_(0)
        torch.neg(d, out=s).log1p_().neg_()  # -log(1 - d)
        if grad is None:
            _power(d, gamma, power).mul_(scale)
            if weigh is not None:
                weigh(power)
            collect(s.mul_(power), 1.0)
            return
        # The slope of the bracket's first part, d / (1 - d), ends where d does.
        bracket = torch.sub(d.new_ones(()), d, out=power)
        torch.div(d, bracket, out=bracket).add_(s, alpha=gamma)
        torch.ops.aten.sigmoid_backward.grad_input(bracket, p, grad_input=grad)
        lower = _power(d, gamma - 1, power).mul_(scale)
        if weigh is not None:
            weigh(lower)
        grad.mul_(lower)
        collect(s.mul_(lower.mul_(d)), 1.0)


def _power(d: Tensor, exponent: float, out: Tensor) -> Tensor:
    """``d^exponent`` where d is above 0, and 0 where it is 0."""
    if exponent == 1:
        return out.copy_(d)
    if exponent in (2, 3):
        torch.square(d, out=out)
        return out.mul_(d) if exponent == 3 else out
    torch.pow(d, exponent, out=out)
    # 0^0 is 1 and 0^-1 infinite, but nothing is charged below the clip.
    return out.masked_fill_(d == 0, 0) if exponent <= 0 else out


def asymmetric_loss(
    pred: Tensor,
    target: Tensor | ClassTargets,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    clip: float = 0.05,
    class_weight: Sequence[float] | None = None,
) -> Tensor:
    """Asymmetric loss; see :class:`AsymmetricLoss`."""
    loss = AsymmetricLoss(gamma_pos, gamma_neg, clip, reduction, class_weight=class_weight).placed(
        pred
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
        check_numbers(self, low=0, gamma_pos=gamma_pos, gamma_neg=gamma_neg)
        check_numbers(self, low=0, high=1, below=True, clip=clip)
        self.gamma_pos = gamma_pos
        self.gamma_neg = gamma_neg
        self.clip = clip

    def negative(self) -> Negative:
        """``-p_m^gamma_neg log(1 - p_m)``."""
        if self.clip == 0:
            return PowerNegative(self.gamma_neg)
        return ClippedNegative(self.gamma_neg, self.clip)

    def at(self, x: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """See the class."""
        hit = torch.exp(self.gamma_pos * F.logsigmoid(-x)) * softplus(-x)
        return value * hit + (1 - value) * self.negative()(x)
