"""Focal loss and its relatives: sigmoid, softmax, Poly.

Shapes: R rows (class vectors), C classes.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, UnsupportedModeError
from ..registry import MODELS
from ..structures import ClassTargets
from .base import Target
from .checks import check_columns, check_flags, check_numbers, column_tensor
from .fused.negatives import Negative, PowerNegative
from .reduction import in_float, reduce_loss
from .sigmoid import Column, SigmoidLoss, binary_cross_entropy
from .softmax import exclusive_target, row_weights


def sigmoid_focal_elements(
    x: Tensor, value: Tensor, gamma: float = 2.0, alpha: float | Tensor = 0.25
) -> Tensor:
    """The focal loss of single logits.

    ``a(v) m^gamma BCE(x, v)`` with ``m = v (1 - p) + (1 - v) p`` and
    ``a(v) = alpha v + (1 - alpha) (1 - v)``, ``p = sigmoid(x)``: at v in {0, 1} equation 5
    of T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017).

    Args:
        x: Logits, any shape.
        value: Targets in [0, 1].
        gamma: How fast well classified examples lose weight; 0 leaves the balanced cross
            entropy.
        alpha: Weight of the positives against ``1 - alpha`` of the negatives.
    """
    balance = alpha * value + (1 - alpha) * (1 - value)
    return balance * power_of_miss(x, value, gamma) * binary_cross_entropy(x, value)


def power_of_miss(x: Tensor, value: Tensor, gamma: float) -> Tensor:
    """``m^gamma`` with ``m = v (1 - p) + (1 - v) p``, its gradient finite at m = 0."""
    if gamma == 0:
        return torch.ones_like(x)
    miss = value * torch.sigmoid(-x) + (1 - value) * torch.sigmoid(x)
    # The slope of m^gamma is infinite at 0 for gamma < 1; below tiny there is none.
    return miss.clamp(min=torch.finfo(x.dtype).tiny).pow(gamma)


def sigmoid_focal_loss(
    pred: Tensor,
    target: Tensor | ClassTargets,
    weight: Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: float | Sequence[float] = 0.25,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | None = None,
    compile: bool = False,
) -> Tensor:
    """Focal loss of independent classes; see :class:`FocalLoss`.

    Example:
        >>> import torch
        >>> logits = torch.zeros(2, 3)
        >>> labels = torch.tensor([1, 3])  # 3 is background
        >>> loss = sigmoid_focal_loss(logits, labels, reduction='sum')
        >>> round(loss.item(), 4)
        0.6931
    """
    loss = FocalLoss(
        True, gamma, alpha, reduction, class_weight=class_weight, compile=compile
    ).placed(pred)
    return loss(pred, target, weight, avg_factor)


def softmax_focal_loss(
    pred: Tensor,
    target: Tensor | ClassTargets,
    weight: Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: float | Sequence[float] = 0.25,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | None = None,
) -> Tensor:
    """Focal loss of exclusive classes; see :class:`FocalLoss`."""
    loss = FocalLoss(False, gamma, alpha, reduction, class_weight=class_weight).placed(pred)
    return loss(pred, target, weight, avg_factor)


@MODELS.register_module()
class FocalLoss(SigmoidLoss):
    """Focal loss: cross entropy that dwells on what is badly classified.

    Sigmoid: :func:`sigmoid_focal_elements` of every logit, ``(R, C)``. Softmax, for a row
    of class y: ``-alpha_y (1 - p_y)^gamma log p_y``, ``(R,)``. At gamma 0 both are the
    alpha-balanced cross entropy.

    Source: T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017), equations 4
    and 5; the softmax form applies them to the probability of the true class.

    Args:
        use_sigmoid: Independent classes; False for a softmax with background last.
        gamma: How fast well classified examples lose weight, at least 0.
        alpha: Sigmoid: weight of the positives, ``1 - alpha`` of the negatives, in [0, 1],
            for all classes or for each. Softmax: weight of a row, at least 0, by its class
            if a list. No number turns the balance off: for that take 0.5 and a
            ``loss_weight`` of 2.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        activated: Whether ``pred`` are probabilities already (sigmoid only; the plain
            formula on every element).
        activation: ``'sigmoid'`` or ``'softmax'``, in place of ``use_sigmoid``.
        class_weight: One number of at least 0 a class (with background for a softmax) that
            multiplies its losses.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float | Sequence[float] = 0.25,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
        *,
        activation: str | None = None,
        class_weight: Sequence[float] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight, compile)
        choose_activation(self, use_sigmoid, activation)
        check_numbers(self, low=0, gamma=gamma)
        check_flags(self, activated=activated)
        if activated and not self.use_sigmoid:
            raise ConfigError(
                f'{type(self).__name__}: activated: expected False beside a softmax, got True'
            )
        self.gamma = gamma
        self.activated = activated
        highest = 1.0 if self.use_sigmoid else math.inf
        per_class = None
        # Read where there is no number for each class.
        self.alpha = 0.5
        if hasattr(alpha, '__len__') and not isinstance(alpha, str):
            name = f'{type(self).__name__}: alpha'
            per_class = column_tensor(alpha, name, highest)  # type: ignore[arg-type]
        else:
            check_numbers(self, low=0, high=highest, alpha=alpha)
            self.alpha = float(alpha)  # type: ignore[arg-type]
        self.register_buffer('class_alpha', per_class, persistent=False)
        self.class_alpha: Tensor | None

    def negative(self) -> Negative:
        """``p^gamma softplus(x)``."""
        return PowerNegative(self.gamma)

    def negative_weight(self) -> float | Tensor:
        """``1 - alpha``."""
        return 1 - (self.alpha if self.class_alpha is None else self.class_alpha)

    def mirror(self, column: Tensor) -> float | Tensor | None:
        """``alpha``."""
        return self._alpha(column)

    def at(self, x: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """See :func:`sigmoid_focal_elements`."""
        return sigmoid_focal_elements(x, value, self.gamma, self._alpha(column))

    def at_probability(self, p: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """See :func:`sigmoid_focal_elements`."""
        alpha = self._alpha(column)
        miss = value * (1 - p) + (1 - value) * p
        balance = alpha * value + (1 - alpha) * (1 - value)
        power = miss.clamp(min=torch.finfo(p.dtype).tiny).pow(self.gamma)
        return balance * power * F.binary_cross_entropy(p, value, reduction='none')

    def check_columns(self, pred: Tensor) -> None:
        """As in :class:`SigmoidLoss`, and ``alpha``."""
        super().check_columns(pred)
        check_columns('alpha', self.class_alpha, self.num_columns(pred))

    def exclusive_cost(self, log_p: Tensor) -> Tensor:
        """``(R, K)`` loss of each class, were it the true one."""
        # 1 - p by expm1: exact where p is nearly 1, which is where gamma works.
        miss = -torch.expm1(log_p)
        cost = -miss.clamp(min=torch.finfo(log_p.dtype).tiny).pow(self.gamma) * log_p
        return cost * self._alpha(slice(None))

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """See :meth:`BaseLoss.compute`."""
        if self.use_sigmoid:
            return super().compute(pred, target, weight, reduction, avg_factor)
        self.check_columns(pred)
        rows = exclusive_target(pred, target, owner=self)
        cost = self.exclusive_cost(F.log_softmax(in_float(pred), dim=1))
        if self.class_weight is not None:
            cost = cost * self.class_weight.to(cost.dtype)
        loss = rows.expect(cost)
        weight = row_weights(weight, loss.shape[0])
        return self.loss_weight * reduce_loss(loss, reduction, weight, avg_factor)

    def _alpha(self, column: Column) -> float | Tensor:
        return self.alpha if self.class_alpha is None else self.class_alpha[column]


def choose_activation(loss: SigmoidLoss, use_sigmoid: bool, activation: str | None) -> None:
    """Set a loss's ``activation``, and the kinds it serves, from its two options."""
    check_flags(loss, use_sigmoid=use_sigmoid)
    if activation not in (None, 'sigmoid', 'softmax'):
        raise UnsupportedModeError(
            f"{type(loss).__name__}: activation: expected 'sigmoid' or 'softmax', got "
            f'{activation!r}'
        )
    softmax = activation == 'softmax' or (activation is None and not use_sigmoid)
    loss.activation = 'softmax' if softmax else 'sigmoid'
    if softmax:
        loss.kinds = ('classification', 'objectness')
