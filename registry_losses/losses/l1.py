"""Losses of a difference: L1, L2, smooth and balanced L1.

Shapes: K pairs, 4 coordinates; any shape will do.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..registry import MODELS
from .base import BaseLoss
from .checks import check_columns, check_numbers, column_tensor
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
def smooth_l1_loss(pred: Tensor, target: Tensor, *, beta: float = 1.0) -> Tensor:
    """``d^2 / (2 beta)`` where ``d = |pred - target| < beta``, else ``d - beta / 2``.

    Source: R. Girshick, Fast R-CNN (2015), eq. 3.

    Args:
        pred: Any shape.
        target: The same.
        beta: Where the parabola meets the line; 0 is the L1 loss.
    """
    check_numbers('smooth_l1_loss', low=0, beta=beta)
    return F.smooth_l1_loss(pred, target, beta=beta, reduction='none')


@reducible
def balanced_l1_loss(
    pred: Tensor,
    target: Tensor,
    *,
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
    check_numbers('balanced_l1_loss', low=0, above=True, beta=beta, alpha=alpha, gamma=gamma)
    d = (pred - target).abs()
    b = math.exp(gamma / alpha) - 1
    near = d.clamp(max=beta)
    curve = alpha / b * (b * near + 1) * torch.log(b * near / beta + 1) - alpha * near
    return torch.where(d < beta, curve, gamma * d + gamma / b - alpha * beta)


class _DifferenceLoss(BaseLoss):
    # Arguments are MMDetection's. MMPose's losses of these names have a switch
    # ``use_target_weight`` in the first place; here weights that are given count.
    kinds = ('box_encoded', 'field')


@MODELS.register_module()
class L1Loss(_DifferenceLoss):
    """:func:`l1_loss` with weights and reduction; the arguments are MMDetection's.

    Plain formula: ``l1`` in ``testing/reference/losses/differences.py``.

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

    The arguments are MMDetection's: MMPose's loss of this name has ``use_target_weight`` in
    the first place, where here weights that are given count. Of classes (YOLOv1's) the
    target may be sparse, or int labels with C for background.

    Plain formula: ``mse`` in ``testing/reference/losses/differences.py``.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        class_weight: Numbers of at least 0, one a column of ``pred``, that multiply its
            losses.
    """

    kinds = ('box_encoded', 'objectness', 'classification', 'heatmap', 'field')

    def __init__(
        self,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        *,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.register_buffer('class_weight', column_tensor(class_weight), persistent=False)
        self.class_weight: Tensor | None

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`mse_loss`."""
        loss = mse_loss(pred, target, reduction='none')
        if self.class_weight is None:
            return loss
        check_columns('class_weight', self.class_weight, loss.shape[-1] if loss.dim() else 1)
        return loss * self.class_weight.to(loss.dtype)


@MODELS.register_module()
class SmoothL1Loss(_DifferenceLoss):
    """:func:`smooth_l1_loss` with weights and reduction; the arguments are MMDetection's.

    Plain formula: ``smooth_l1`` in ``testing/reference/losses/differences.py``.

    Args:
        beta: Where the parabola meets the line, at least 0; 0 is the L1 loss.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    def __init__(
        self, beta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        check_numbers(self, low=0, beta=beta)
        self.beta = beta

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`smooth_l1_loss`."""
        return smooth_l1_loss(pred, target, beta=self.beta, reduction='none')


@MODELS.register_module()
class BalancedL1Loss(_DifferenceLoss):
    """:func:`balanced_l1_loss` with weights and reduction.

    Plain formula: ``balanced_l1`` in ``testing/reference/losses/differences.py``.

    Args:
        alpha: Slope of the small differences, above 0.
        gamma: The gradient of large differences, above 0.
        beta: Where the two branches meet, above 0.
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
        check_numbers(self, low=0, above=True, alpha=alpha, gamma=gamma, beta=beta)
        self.alpha = alpha
        self.gamma = gamma
        self.beta = beta

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`balanced_l1_loss`."""
        return balanced_l1_loss(
            pred, target, beta=self.beta, alpha=self.alpha, gamma=self.gamma, reduction='none'
        )
