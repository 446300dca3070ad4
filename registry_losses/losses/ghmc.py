"""GHM-C, the gradient harmonised loss of classes: every range of gradients counts alike.

Shapes: R rows, C classes; bins of the gradient norm.
"""

from collections.abc import Sequence

import torch
from mmengine import dist
from torch import Tensor

from ..ops.ranks import sum_over_ranks
from ..registry import MODELS
from ..structures import ClassTargets
from .base import BaseLoss, call_order, require_sigmoid
from .checks import check_call, check_counts, check_numbers, check_same_shape, column_tensor
from .reduction import expand_weight, in_float, like_pred, reduce_loss
from .sigmoid import binary_cross_entropy, class_setting
from .targets import Target, dense_target, read_classes


def gradient_density(
    norm: Tensor,
    valid: Tensor,
    edges: Tensor,
    running: Tensor | None,
    momentum: float,
    *,
    over_ranks: bool = False,
) -> tuple[Tensor, Tensor]:
    """The weight ``total / (count of the bin * bins that hold anything)`` of every element.

    Args:
        norm: Gradient norms, any shape.
        valid: bool, its shape, the elements that count.
        edges: ``(bins + 1,)`` rising; what lies beyond the last weighs nothing.
        running: ``(bins,)`` moving average of the counts, changed in place; None without.
        momentum: How much of the average stays.
        over_ranks: Count over all ranks of a distributed training.

    Returns:
        Weights of the shape of ``norm``, and the number of elements that count (at least 1),
        over the number of ranks.
    """
    bins = edges.numel() - 1
    index = torch.bucketize(norm.detach(), edges, right=True) - 1
    inside = valid & (index >= 0) & (index < bins)
    index = index.clamp(0, bins - 1)
    counts = norm.new_zeros(bins).index_add_(
        0, index.reshape(-1), inside.reshape(-1).to(norm.dtype)
    )
    total, ranks = valid.sum().to(norm.dtype), 1
    if over_ranks:
        counts, total = (x.to(norm.dtype) for x in sum_over_ranks([counts, total]))
        ranks = dist.get_world_size()
    filled, total = counts > 0, total.clamp(min=1)
    if running is not None and momentum > 0:
        moved = momentum * running + (1 - momentum) * counts.to(running.dtype)
        running.copy_(torch.where(filled, moved, running))
        counts = running.to(norm.dtype)
    per_bin = torch.where(filled, total / torch.where(filled, counts, 1), 0)
    per_bin = per_bin / filled.sum().clamp(min=1)
    return torch.where(inside, per_bin[index], 0), total / ranks


def ghmc_loss(
    pred: Tensor,
    target: Target,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    *,
    bins: int = 10,
    momentum: float = 0.0,
    running: Tensor | None = None,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
    over_ranks: bool = False,
) -> Tensor:
    """Binary cross entropy, each logit times :func:`gradient_density` of ``|p - v|``.

    Args:
        pred: ``(R, C)`` logits.
        target: Dense values, int labels ``(R,)`` or :class:`ClassTargets`.
        weight: ``(R,)`` or ``(R, C)``; only whether it is above 0 counts.
        reduction: ``'none'``, ``'mean'`` (over the logits that count) or ``'sum'``.
        bins: Unit regions of the gradient norm in [0, 1].
        momentum: How much of ``running`` stays, in [0, 1).
        running: ``(bins,)`` moving average of the counts, changed in place; None without.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        loss_weight: The loss is multiplied by it.
        over_ranks: Count over all ranks of a distributed training, which all have to call.
    """
    check_call(pred, weight, reduction, None)
    check_bins('ghmc_loss', bins, momentum)
    classes = class_setting('class_weight', class_weight, pred)
    x = in_float(pred)
    with torch.autocast(pred.device.type, enabled=False):
        value, valid = _values_that_count(pred, target, weight)
        norm = (x.detach().sigmoid() - value).abs()
        edges = region_edges(bins, 1 + 1e-6, norm)  # a norm of exactly 1 is in the last region
        density, total = gradient_density(
            norm, valid, edges, running, momentum, over_ranks=over_ranks
        )
        loss = binary_cross_entropy(x, value)
        if classes is not None:
            loss = loss * classes.to(loss.dtype)
        factor = total if reduction == 'mean' else None
        return loss_weight * reduce_loss(loss, reduction, density, factor)


def region_edges(bins: int, last: float, norm: Tensor) -> Tensor:
    """``(bins + 1,)`` edges of the unit regions of [0, 1]."""
    edges = torch.arange(bins + 1, dtype=torch.float32, device=norm.device) / bins
    edges[-1] = last
    return edges.to(norm.dtype)


def _values_that_count(
    pred: Tensor, target: Target, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Dense values, and which of them count."""
    target = read_classes('GHMC', pred, target)
    if isinstance(target, ClassTargets):
        value, _, weight = dense_target(target, weight)
        check_same_shape(pred, value)
        return like_pred(value, pred), weight > 0
    return target, counted(pred, weight)


def counted(pred: Tensor, weight: Tensor | None) -> Tensor:
    """Which elements of ``pred`` count, a bool each: those whose weight is above 0."""
    valid = torch.ones_like(pred, dtype=torch.bool)
    return valid if weight is None else valid & (expand_weight(weight, pred) > 0)


def check_bins(owner: object, bins: int, momentum: float) -> None:
    """Refuse settings a histogram cannot have."""
    check_counts(owner, bins=bins)
    check_numbers(owner, low=0, high=1, below=True, momentum=momentum)


@MODELS.register_module()
class GHMC(BaseLoss):
    """Binary cross entropy, each logit weighted against the crowd of its gradient norm.

    ``g = |p - v|`` falls into one of ``bins`` unit regions of [0, 1]; a logit's weight is
    the number of all valid logits over the number in its region and over the number of
    regions that hold any. A mean is the weighted sum over the valid logits, whatever
    ``avg_factor`` is.

    See :func:`ghmc_loss`.

    Source: B. Li et al., Gradient Harmonized Single-stage Detector (2019), the GHM-C
    loss; the division by the non-empty regions is the official code's.

    Plain formula: ``ghmc`` in ``testing/reference/losses/classes.py``.

    Args:
        bins: Unit regions.
        momentum: Of the moving average of the counts; 0 takes each batch for itself.
        use_sigmoid: There is no other form.
        loss_weight: The loss is multiplied by it.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
    """

    kinds = ('classification', 'objectness', 'centerness')
    target_format = 'sparse'
    activation = 'sigmoid'

    def __init__(
        self,
        bins: int = 10,
        momentum: float = 0,
        use_sigmoid: bool = True,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        *,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        require_sigmoid(self, use_sigmoid)
        check_bins(self, bins, momentum)
        self.bins = bins
        self.momentum = momentum
        # Part of the state that OpenMMLab's checkpoints hold.
        self.register_buffer('edges', region_edges(bins, 1 + 1e-6, torch.zeros(())))
        self.register_buffer('acc_sum', torch.zeros(bins) if momentum > 0 else None)
        self.register_buffer('class_weight', column_tensor(class_weight), persistent=False)
        self.edges: Tensor
        self.acc_sum: Tensor | None
        self.class_weight: Tensor | None

    def forward(  # type: ignore[override]
        self,
        pred: Tensor,
        target: Tensor | ClassTargets,
        label_weight: Tensor | None = None,
        reduction_override: str | None = None,
        avg_factor: Tensor | float | None = None,
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The loss; note the order of the last two.

        Args:
            pred: ``(R, C)`` logits.
            target: Dense values, int labels ``(R,)`` or :class:`ClassTargets`.
            label_weight: ``(R,)`` or ``(R, C)``; only whether it is above 0 counts.
            reduction_override: In place of ``reduction``.
            avg_factor: Accepted for the shared call, and without effect.
            weight: Another name of ``label_weight``.
        """
        reduction_override, avg_factor = call_order(reduction_override, avg_factor)
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
        """:func:`ghmc_loss`."""
        return ghmc_loss(
            pred,
            target,
            weight,
            reduction,
            bins=self.bins,
            momentum=self.momentum,
            running=self.acc_sum,
            class_weight=self.class_weight,
            loss_weight=self.loss_weight,
            over_ranks=self.training,
        )
