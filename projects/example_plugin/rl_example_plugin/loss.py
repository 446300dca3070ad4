"""A box loss: the logarithm of the hyperbolic cosine."""

import math

import torch.nn.functional as F
from torch import Tensor

from registry_losses.losses import BaseLoss
from registry_losses.registry import MODELS


def log_cosh_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``log cosh(pred - target)``, element by element: a parabola near 0, a line far off.

    Args:
        pred: Any shape.
        target: The same shape.
    """
    d = (pred - target).abs()
    # log cosh d = d + log(1 + e^-2d) - log 2, which does not overflow.
    return d + F.softplus(-2 * d) - math.log(2)


@MODELS.register_module()
class LogCoshLoss(BaseLoss):
    """See :func:`log_cosh_loss`. Reduction, weights and ``avg_factor`` come from the base.

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: The loss is multiplied by it.
    """

    kinds = ('box_encoded',)

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each coordinate."""
        return log_cosh_loss(pred, target)
