"""Focal loss: cross entropy in which well classified examples weigh little.

Shapes: R rows (class vectors), C classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..registry import MODELS
from .checks import check_flags, check_numbers, column_tensor, owner_name
from .fused.negatives import PowerNegative
from .sigmoid import (
    SigmoidLoss,
    SigmoidRule,
    binary_cross_entropy,
    class_setting,
    of_columns,
    sigmoid_loss,
)
from .softmax import choose_activation, softmax_loss
from .targets import Target

# The weight of positives against negatives: one number, one a class, or None for no balance.
Alpha = float | Sequence[float] | Tensor | None


def sigmoid_focal_elements(
    x: Tensor, value: Tensor, gamma: float = 2.0, alpha: float | Tensor | None = 0.25
) -> Tensor:
    """The focal loss of single logits.

    ``a(v) m^gamma BCE(x, v)`` with ``m = v (1 - p) + (1 - v) p`` and
    ``a(v) = alpha v + (1 - alpha) (1 - v)``, ``p = sigmoid(x)``. At v in {0, 1} this is
    ``-alpha_t (1 - p_t)^gamma log p_t``, equation 5 of T.-Y. Lin et al., Focal Loss for Dense
    Object Detection (2017): m is their ``1 - p_t``, and a their ``alpha_t``.

    Args:
        x: Logits, any shape.
        value: Targets in [0, 1].
        gamma: How fast well classified examples lose weight; 0 leaves the balanced cross
            entropy.
        alpha: Weight of the positives against ``1 - alpha`` of the negatives; None for 1 and 1.
    """
    miss = power_of_miss(x, value, gamma)
    return balance(value, alpha) * miss * binary_cross_entropy(x, value)


def balance(value: Tensor, alpha: float | Tensor | None) -> Tensor | float:
    """``alpha v + (1 - alpha) (1 - v)``, or 1 without an alpha."""
    return 1.0 if alpha is None else alpha * value + (1 - alpha) * (1 - value)


def power_of_miss(x: Tensor, value: Tensor, gamma: float) -> Tensor:
    """``m^gamma`` with ``m = v (1 - p) + (1 - v) p``, its gradient finite at m = 0."""
    if gamma == 0:
        return torch.ones_like(x)
    miss = value * torch.sigmoid(-x) + (1 - value) * torch.sigmoid(x)
    # The slope of m^gamma is infinite at 0 for gamma < 1; below tiny there is none.
    return miss.clamp(min=torch.finfo(x.dtype).tiny).pow(gamma)


def focal_elements_of_probabilities(
    p: Tensor, value: Tensor, gamma: float, alpha: float | Tensor | None
) -> Tensor:
    """:func:`sigmoid_focal_elements` where probabilities are given in place of logits."""
    miss = value * (1 - p) + (1 - value) * p
    power = miss.clamp(min=torch.finfo(p.dtype).tiny).pow(gamma)
    return balance(value, alpha) * power * F.binary_cross_entropy(p, value, reduction='none')


def sigmoid_focal_loss(
    pred: Tensor,
    target: Target,
    weight: Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: Alpha = 0.25,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
    activated: bool = False,
    compile: bool = False,
) -> Tensor:
    """Focal loss of independent classes: :func:`sigmoid_focal_elements` of every logit.

    Args:
        pred: ``(R, C)`` logits, or probabilities if ``activated``.
        target: :class:`ClassTargets`, int labels ``(R,)`` (C is background, negative ones
            take no part), or values of the shape of ``pred``.
        weight: ``(R,)`` or ``(R, C)``.
        gamma: How fast well classified examples lose weight, at least 0.
        alpha: Weight of the positives against ``1 - alpha`` of the negatives, in [0, 1], for
            all classes or for each; None or -1 for no balance, both weigh 1.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        loss_weight: The loss is multiplied by it.
        activated: Whether ``pred`` are probabilities already.
        compile: On the CPU, run the fused pass as compiled C.

    Example:
        >>> import torch
        >>> logits = torch.zeros(2, 3)
        >>> labels = torch.tensor([1, 3])  # 3 is background
        >>> loss = sigmoid_focal_loss(logits, labels, reduction='sum')
        >>> round(loss.item(), 4)
        0.6931
    """
    check_numbers('sigmoid_focal_loss', low=0, gamma=gamma)
    alpha = read_alpha('sigmoid_focal_loss', alpha, pred, highest=1.0)
    # What the loss is, for sigmoid_loss to apply to sparse or dense targets: the formula where the
    # target is not 0, and the same formula at target 0, where it has a closed form.
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: sigmoid_focal_elements(
            x, value, gamma, alpha_of(alpha, column)
        ),
        on_negatives=PowerNegative(gamma),  # p^gamma softplus(x)
        negative_weight=1.0 if alpha is None else 1 - alpha,
        positive_weight=1.0 if alpha is None else alpha,
        on_probabilities=lambda p, value, positive, column: focal_elements_of_probabilities(
            p, value, gamma, alpha_of(alpha, column)
        ),
        class_weight=class_setting('class_weight', class_weight, pred),
    )
    return sigmoid_loss(
        pred,
        target,
        weight,
        rule,
        owner='FocalLoss',
        reduction=reduction,
        avg_factor=avg_factor,
        loss_weight=loss_weight,
        activated=activated,
        compile=compile,
    )


def softmax_focal_cost(
    log_p: Tensor, gamma: float = 2.0, alpha: float | Tensor | None = 0.25
) -> Tensor:
    """``-alpha_y (1 - p_y)^gamma log p_y`` of every class y, were it the true one.

    Args:
        log_p: ``(R, K)`` logarithms of probabilities.
        gamma: See :func:`sigmoid_focal_loss`.
        alpha: A number or ``(K,)``; None for 1.
    """
    # A class that is masked out by a logit of -inf: no number times 0 may become of it.
    log_p = log_p.clamp(min=torch.finfo(log_p.dtype).min)
    # 1 - p by expm1: exact where p is nearly 1, which is where gamma works.
    miss = -torch.expm1(log_p)
    cost = -miss.clamp(min=torch.finfo(log_p.dtype).tiny).pow(gamma) * log_p
    return cost if alpha is None else cost * alpha


def softmax_focal_loss(
    pred: Tensor,
    target: Target,
    weight: Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: Alpha = 0.25,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
) -> Tensor:
    """Focal loss of exclusive classes, background last: :func:`softmax_focal_cost`, ``(R,)``.

    Args:
        pred: ``(R, C + 1)`` logits, or ``(R, C)`` without background; -inf masks a class out.
        target: See :func:`.softmax.exclusive_target`.
        weight: ``(R,)``.
        gamma: How fast well classified rows lose weight, at least 0.
        alpha: Weight of a row, at least 0; by its class if a list; None or -1 for 1.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        class_weight: One number of at least 0 a column of ``pred`` that multiplies the losses
            of its rows.
        loss_weight: The loss is multiplied by it.
    """
    check_numbers('softmax_focal_loss', low=0, gamma=gamma)
    alpha = read_alpha('softmax_focal_loss', alpha, pred)
    return softmax_loss(
        pred,
        target,
        weight,
        lambda log_p: softmax_focal_cost(log_p, gamma, alpha),
        owner='FocalLoss',
        reduction=reduction,
        avg_factor=avg_factor,
        class_weight=class_weight,
        loss_weight=loss_weight,
    )


def read_alpha(
    owner: object, alpha: Alpha, pred: Tensor | None = None, *, highest: float = math.inf
) -> float | Tensor | None:
    """A number or ``(C,)``; None where there is no balance, also for -1.

    Args:
        owner: The loss, or the name of the function.
        alpha: What was asked for.
        pred: Where the numbers are to be, one a class of it; None to check the values alone.
        highest: The largest that will do.
    """
    if alpha is None or (not hasattr(alpha, '__len__') and alpha == -1):
        return None
    if hasattr(alpha, '__len__') and not isinstance(alpha, str):
        if pred is None:
            return column_tensor(alpha, f'{owner_name(owner)}: alpha', highest)  # type: ignore
        return class_setting('alpha', alpha, pred, highest=highest)  # type: ignore[arg-type]
    check_numbers(owner, low=0, high=highest, alpha=alpha)
    return float(alpha)  # type: ignore[arg-type]


def alpha_of(alpha: float | Tensor | None, column: Tensor | slice) -> float | Tensor | None:
    """The alpha of the classes in ``column``: an index of single logits' classes, or a slice."""
    return None if alpha is None else of_columns(alpha, column)


@MODELS.register_module()
class FocalLoss(SigmoidLoss):
    """Focal loss: cross entropy in which well classified examples weigh little.

    Sigmoid: :func:`sigmoid_focal_loss`, ``(R, C)``. Softmax, for a row of class y:
    ``-alpha_y (1 - p_y)^gamma log p_y``, ``(R,)``, by :func:`softmax_focal_loss`. At gamma 0
    both are the alpha-balanced cross entropy.

    Source: T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017), equations 4
    and 5; the softmax form applies them to the probability of the true class.

    Plain formula: ``focal`` and ``softmax_focal`` in ``testing/reference/losses/classes.py``.

    Args:
        use_sigmoid: Independent classes; False for a softmax with background last.
        gamma: How fast well classified examples lose weight, at least 0.
        alpha: Sigmoid: weight of the positives, ``1 - alpha`` of the negatives, in [0, 1],
            for all classes or for each. Softmax: weight of a row, at least 0, by its class
            if a list. None or -1: no balance, all weigh 1.
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
        alpha: float | Sequence[float] | None = 0.25,
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
        read = read_alpha(self, alpha, highest=1.0 if self.use_sigmoid else math.inf)
        self.alpha = None if isinstance(read, Tensor) else read
        per_class = read if isinstance(read, Tensor) else None
        self.register_buffer('class_alpha', per_class, persistent=False)
        self.class_alpha: Tensor | None

    @property
    def alphas(self) -> float | Tensor | None:
        """``alpha``: a number, ``(C,)``, or None for no balance."""
        return self.alpha if self.class_alpha is None else self.class_alpha

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """:func:`sigmoid_focal_loss` or :func:`softmax_focal_loss`."""
        shared: dict[str, Any] = dict(
            gamma=self.gamma,
            alpha=self.alphas,
            reduction=reduction,
            avg_factor=avg_factor,
            class_weight=self.class_weight,
            loss_weight=self.loss_weight,
        )
        if not self.use_sigmoid:
            return softmax_focal_loss(pred, target, weight, **shared)
        return sigmoid_focal_loss(
            pred, target, weight, **shared, activated=self.activated, compile=self.compiled
        )
