"""SigmoidLoss: what the losses of independent classes share.

Shapes: R rows (class vectors), C classes, E non-zero entries of a sparse target.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError
from ..structures import ClassTargets
from .base import BaseLoss, row_weight
from .reduction import expand_weight, in_float, reduce_loss


class SigmoidLoss(BaseLoss):
    """A loss of logits ``(R, C)`` against values in [0, 1], class by class.

    The target may be :class:`ClassTargets`, int labels ``(R,)`` (C is background, negative
    labels are ignored rows) or dense values of the shape of the logits.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        class_weight: C numbers that multiply the losses of each class.
    """

    kinds = ('classification', 'objectness', 'centerness', 'heatmap')
    target_format = 'sparse'
    activation = 'sigmoid'

    def __init__(
        self,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer('class_weight', weight, persistent=False)
        self.class_weight: Tensor | None

    def at(self, x: Tensor, value: Tensor, positive: Tensor) -> Tensor:
        """The loss of logits whose targets are ``value``; ``positive`` says which are objects."""
        raise NotImplementedError

    def compute(
        self,
        pred: Tensor,
        target: Tensor | ClassTargets,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """See :meth:`BaseLoss.compute`."""
        x = in_float(pred)
        if isinstance(target, Tensor) and target.dim() == pred.dim() - 1:
            target = ClassTargets.from_labels(target, pred.shape[-1])
        if isinstance(target, ClassTargets):
            if tuple(pred.shape) != (target.num_rows, target.num_classes):
                raise ShapeError(
                    f'pred: expected {(target.num_rows, target.num_classes)} (rows, classes of '
                    f'the targets), got {tuple(pred.shape)}'
                )
            weight = row_weight(weight, target)
            value = target.dense(x.dtype)
            positive = torch.zeros_like(value, dtype=torch.bool)
            positive[target.rows, target.classes] = target.positive
        else:
            value = in_float(target)
            if value.shape != x.shape:
                raise ShapeError(
                    f'target: expected the shape of pred {tuple(pred.shape)}, labels or '
                    f'ClassTargets, got {tuple(target.shape)}'
                )
            positive = value > 0
        loss = self.at(x, value, positive)
        if self.class_weight is not None:
            loss = loss * self.class_weight.to(loss.dtype)
        if weight is not None:
            loss = loss * expand_weight(in_float(weight), loss)
        return self.loss_weight * reduce_loss(loss, reduction, None, avg_factor)


def binary_cross_entropy(x: Tensor, value: Tensor) -> Tensor:
    """``softplus(x) - value x``: ``-v log p - (1 - v) log(1 - p)`` at ``p = sigmoid(x)``."""
    return F.softplus(x) - value * x
