"""Poly-1 losses.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..registry import MODELS
from ..structures import ClassTargets
from .checks import check_numbers
from .focal import FocalLoss, power_of_miss
from .fused.negatives import Negative, PowerNegative
from .sigmoid import Column


def poly_loss(
    pred: Tensor,
    target: Tensor | ClassTargets,
    weight: Tensor | None = None,
    *,
    use_sigmoid: bool = True,
    epsilon: float = 1.0,
    gamma: float = 0.0,
    alpha: float | Sequence[float] | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | None = None,
) -> Tensor:
    """Poly-1 loss; see :class:`PolyLoss`."""
    loss = PolyLoss(
        use_sigmoid, epsilon, gamma, alpha, reduction, class_weight=class_weight
    ).placed(pred)
    return loss(pred, target, weight, avg_factor)


@MODELS.register_module()
class PolyLoss(FocalLoss):
    """Poly-1: cross entropy or focal loss with another first polynomial coefficient.

    ``a (m^gamma CE + epsilon m^(gamma + 1))`` with m, the probability of being wrong, and
    the balance a of :class:`FocalLoss`: the logarithm is a series in m, of which the
    first coefficient alone is changed.

    Source: Z. Leng et al., PolyLoss (2022), equations 6 (gamma 0) and 8. Deviation: alpha
    balances both terms; the paper's equations leave it out.

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
            1.0 if alpha is None else alpha,
            reduction,
            loss_weight,
            activation=activation,
            class_weight=class_weight,
            compile=compile,
        )
        # Without a balance both sides weigh 1: twice what alpha = 0.5 gives them.
        self.balance = 1.0
        if alpha is None and self.use_sigmoid:
            self.alpha, self.balance = 0.5, 2.0
        check_numbers(self, epsilon=epsilon)
        self.epsilon = epsilon

    def negative(self) -> Negative:
        """``p^gamma (softplus(x) + epsilon p)``."""
        return PowerNegative(self.gamma, self.epsilon)

    def negative_weight(self) -> float | Tensor:
        """``1 - alpha``, or 1 without a balance."""
        return self.balance * super().negative_weight()

    def mirror(self, column: Tensor) -> float | Tensor | None:
        """``alpha``, or 1 without a balance."""
        return self.balance * self._alpha(column)

    def at(self, x: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """See the class."""
        alpha = self._alpha(column)
        extra = power_of_miss(x, value, self.gamma + 1)
        extra = (alpha * value + (1 - alpha) * (1 - value)) * self.epsilon * extra
        return self.balance * (super().at(x, value, positive, column) + extra)

    def exclusive_cost(self, log_p: Tensor) -> Tensor:
        """See :meth:`FocalLoss.exclusive_cost`."""
        miss = -torch.expm1(log_p)
        extra = self.epsilon * miss.clamp(min=torch.finfo(log_p.dtype).tiny).pow(self.gamma + 1)
        return super().exclusive_cost(log_p) + self._alpha(slice(None)) * extra
