"""GHM-R, the gradient harmonised loss of differences.

Shapes: K pairs, 4 coordinates; bins of the gradient norm.
"""

import torch
from torch import Tensor

from ..registry import MODELS
from .base import BaseLoss, need_tensor
from .checks import check_call, check_numbers, check_same_shape
from .ghmc import check_bins, counted, gradient_density, region_edges
from .reduction import in_float, like_pred, reduce_loss
from .targets import Target


def ghmr_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    *,
    mu: float = 0.02,
    bins: int = 10,
    momentum: float = 0.0,
    running: Tensor | None = None,
    loss_weight: float = 1.0,
    over_ranks: bool = False,
) -> Tensor:
    """``sqrt(d^2 + mu^2) - mu``, each element times :func:`gradient_density` of its slope.

    Args:
        pred: ``(K, 4)`` or any shape.
        target: Its shape.
        weight: Its shape, or ``(K,)``; only whether it is above 0 counts.
        reduction: ``'none'``, ``'mean'`` (over the elements that count) or ``'sum'``.
        mu: Where the parabola becomes a line, above 0.
        bins: Unit regions of the gradient norm ``|d / sqrt(d^2 + mu^2)|`` in [0, 1).
        momentum: How much of ``running`` stays, in [0, 1).
        running: ``(bins,)`` moving average of the counts, changed in place; None without.
        loss_weight: The loss is multiplied by it.
        over_ranks: Count over all ranks of a distributed training, which all have to call.
    """
    check_call(pred, weight, reduction, None)
    check_bins('ghmr_loss', bins, momentum)
    check_numbers('ghmr_loss', low=0, above=True, mu=mu)
    check_same_shape(pred, target)
    with torch.autocast(pred.device.type, enabled=False):
        difference = in_float(pred) - like_pred(target, pred)
        root = torch.sqrt(difference * difference + mu * mu)
        norm = (difference / root).abs()
        edges, valid = region_edges(bins, 1e3, norm), counted(pred, weight)
        density, total = gradient_density(
            norm, valid, edges, running, momentum, over_ranks=over_ranks
        )
        factor = total if reduction == 'mean' else None
        return loss_weight * reduce_loss(root - mu, reduction, density, factor)


@MODELS.register_module()
class GHMR(BaseLoss):
    """The authentic smooth L1 loss, each element weighted against its gradient's crowd.

    ``sqrt(d^2 + mu^2) - mu``, whose gradient norm ``|d / sqrt(d^2 + mu^2)|`` is in [0, 1);
    weighted as in :class:`GHMC`. See :func:`ghmr_loss`.

    Source: B. Li et al., Gradient Harmonized Single-stage Detector (2019), the
    GHM-R loss.

    Plain formula: ``ghmr`` in ``testing/reference/losses/differences.py``.

    Args:
        mu: Where the parabola becomes a line.
        bins: Unit regions.
        momentum: Of the moving average of the counts; 0 takes each batch for itself.
        loss_weight: The loss is multiplied by it.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
    """

    kinds = ('box_encoded', 'field')

    def __init__(
        self,
        mu: float = 0.02,
        bins: int = 10,
        momentum: float = 0,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(reduction, loss_weight)
        check_bins(self, bins, momentum)
        check_numbers(self, low=0, above=True, mu=mu)
        self.mu = mu
        self.bins = bins
        self.momentum = momentum
        # Part of the state that OpenMMLab's checkpoints hold.
        self.register_buffer('edges', region_edges(bins, 1e3, torch.zeros(())))
        self.register_buffer('acc_sum', torch.zeros(bins) if momentum > 0 else None)
        self.edges: Tensor
        self.acc_sum: Tensor | None

    def forward(  # type: ignore[override]
        self,
        pred: Tensor,
        target: Tensor,
        label_weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
        reduction_override: str | None = None,
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            pred: ``(K, 4)`` or any shape.
            target: Its shape.
            label_weight: Its shape, or ``(K,)``; only whether it is above 0 counts.
            avg_factor: Accepted for the shared call, and without effect.
            reduction_override: In place of ``reduction``.
            weight: Another name of ``label_weight``.
        """
        weight = label_weight if weight is None else weight
        return super().forward(pred, target, weight, avg_factor, reduction_override)

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """:func:`ghmr_loss`."""
        return ghmr_loss(
            pred,
            need_tensor(self, target),
            weight,
            reduction,
            mu=self.mu,
            bins=self.bins,
            momentum=self.momentum,
            running=self.acc_sum,
            loss_weight=self.loss_weight,
            over_ranks=self.training,
        )
