"""Adaptive wing loss of heatmaps.

Shapes: B images, K keypoints, H, W map; or R rows (pixels) of C classes.
"""

import torch
from torch import Tensor

from ..registry import MODELS
from .checks import check_numbers
from .heatmap import HeatmapLoss
from .reduction import reducible


@reducible
def adaptive_wing_loss(
    pred: Tensor,
    target: Tensor,
    *,
    alpha: float = 2.1,
    omega: float = 14.0,
    epsilon: float = 1.0,
    theta: float = 0.5,
) -> Tensor:
    """A wing loss that is steep around peaks and flat on the background.

    With ``d = |v - y|`` and the exponent ``e = alpha - v``: ``omega ln(1 + (d / epsilon)^e)``
    below ``theta``, else the line ``A d - C`` that continues it.

    Source: X. Wang et al., Adaptive Wing Loss (2019).

    Args:
        pred: Heatmap values y, any shape.
        target: Values v in [0, 1], its shape.
        alpha: More than 1 above the largest target, for a loss smooth at 0.
        omega: Scale of the curved part.
        epsilon: Width of the curved part.
        theta: Where the line begins.
    """
    _check_wing('adaptive_wing_loss', alpha, omega, epsilon, theta)
    d = (target - pred).abs()
    e = alpha - target
    edge = (theta / epsilon) ** e
    slope = omega * e * (theta / epsilon) ** (e - 1) / ((1 + edge) * epsilon)
    offset = theta * slope - omega * torch.log1p(edge)
    curve = omega * torch.log1p((d.clamp(max=theta) / epsilon).pow(e))
    return torch.where(d < theta, curve, slope * d - offset)


def _check_wing(owner: object, alpha: float, omega: float, epsilon: float, theta: float) -> None:
    check_numbers(owner, low=1, above=True, alpha=alpha)
    check_numbers(owner, low=0, above=True, omega=omega, epsilon=epsilon, theta=theta)


@MODELS.register_module()
class AdaptiveWingLoss(HeatmapLoss):
    """:func:`adaptive_wing_loss` with keypoint weights and a mask.

    Deviation from OpenMMLab: a weight multiplies the loss, not prediction and target; of
    weights 0 and 1 the outcome is the same.

    Plain formula: ``adaptive_wing`` in ``testing/reference/losses/differences.py``.

    Args:
        alpha: See :func:`adaptive_wing_loss`.
        omega: Scale of the curved part.
        epsilon: Width of the curved part.
        theta: Where the line begins.
        use_target_weight: Whether ``target_weights`` count.
        loss_weight: The loss is multiplied by it.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
    """

    def __init__(
        self,
        alpha: float = 2.1,
        omega: float = 14,
        epsilon: float = 1,
        theta: float = 0.5,
        use_target_weight: bool = False,
        loss_weight: float = 1.0,
        *,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(use_target_weight, loss_weight, reduction)
        _check_wing(self, alpha, omega, epsilon, theta)
        self.alpha = alpha
        self.omega = omega
        self.epsilon = epsilon
        self.theta = theta

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`adaptive_wing_loss`."""
        return adaptive_wing_loss(
            pred,
            target,
            alpha=self.alpha,
            omega=self.omega,
            epsilon=self.epsilon,
            theta=self.theta,
            reduction='none',
        )
