"""Losses of a difference: L1, L2, smooth and balanced L1.

Shapes: K pairs, 4 coordinates; any shape will do.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..registry import MODELS
from .base import BaseLoss
from .reduction import reducible


@reducible
def l1_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``|pred - target|``, element by element."""
    return (pred - target).abs()


@reducible
def mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``(pred - target)^2``, element by element."""
    return (pred - target).square()


@reducible
def smooth_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """``d^2 / (2 beta)`` where ``d = |pred - target| < beta``, else ``d - beta / 2``.

    Source: R. Girshick, Fast R-CNN (2015), eq. 3.

    Args:
        pred: Any shape.
        target: The same.
        beta: Where the parabola meets the line; 0 is the L1 loss.
    """
    return F.smooth_l1_loss(pred, target, beta=beta, reduction='none')


@reducible
def balanced_l1_loss(
    pred: Tensor,
    target: Tensor,
    beta: float = 1.0,
    alpha: float = 0.5,
    gamma: float = 1.5,
) -> Tensor:
    """The L1 loss whose gradient grows logarithmically for small differences.

    With ``b = e^(gamma / alpha) - 1``: ``alpha / b (b d + 1) ln(b d / beta + 1) - alpha d``
    where ``d = |pred - target| < beta``, else ``gamma d + gamma / b - alpha beta``.

    Source: J. Pang et al., Libra R-CNN (2019), eq. 7 to 9.

    Args:
        pred: Any shape.
        target: The same.
        beta: Where the two branches meet.
        alpha: Slope of the small differences; less promotes them more.
        gamma: The gradient of large differences.
    """
    d = (pred - target).abs()
    b = math.exp(gamma / alpha) - 1
    near = d.clamp(max=beta)
    curve = alpha / b * (b * near + 1) * torch.log(b * near / beta + 1) - alpha * near
    return torch.where(d < beta, curve, gamma * d + gamma / b - alpha * beta)


class _DifferenceLoss(BaseLoss):
    kinds = ('box_encoded', 'field')


@MODELS.register_module()
class L1Loss(_DifferenceLoss):
    """:func:`l1_loss` with weights and reduction.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`l1_loss`."""
        return l1_loss(pred, target, reduction='none')


@MODELS.register_module()
class MSELoss(BaseLoss):
    """:func:`mse_loss` with weights and reduction: the L2 loss.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    kinds = ('box_encoded', 'objectness', 'classification', 'heatmap', 'field')

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`mse_loss`."""
        return mse_loss(pred, target, reduction='none')


@MODELS.register_module()
class SmoothL1Loss(_DifferenceLoss):
    """:func:`smooth_l1_loss` with weights and reduction.

    Args:
        beta: Where the parabola meets the line.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    def __init__(
        self, beta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        if beta < 0:
            raise ConfigError(f'SmoothL1Loss: beta must be at least 0, got {beta}')
        self.beta = beta

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`smooth_l1_loss`."""
        return smooth_l1_loss(pred, target, self.beta, reduction='none')


@MODELS.register_module()
class BalancedL1Loss(_DifferenceLoss):
    """:func:`balanced_l1_loss` with weights and reduction.

    Args:
        alpha: Slope of the small differences.
        gamma: The gradient of large differences.
        beta: Where the two branches meet.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        gamma: float = 1.5,
        beta: float = 1.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if beta <= 0 or alpha <= 0:
            raise ConfigError(
                f'BalancedL1Loss: alpha and beta must be above 0, got {alpha} and {beta}'
            )
        self.alpha = alpha
        self.gamma = gamma
        self.beta = beta

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`balanced_l1_loss`."""
        return balanced_l1_loss(pred, target, self.beta, self.alpha, self.gamma, reduction='none')
