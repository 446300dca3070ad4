"""What the losses of long-tailed classes share that are balanced by the gradients of each class.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ..errors import ShapeError
from ..structures import ClassTargets
from ..structures.loss_term import Kind
from .checks import check_columns, check_counts, check_floating, check_same_shape
from .reduction import fit_rows, in_float, like_pred
from .sigmoid import SigmoidLoss
from .targets import Target, dense_target, read_classes


def read_ratio(pred: Tensor, ratio: object) -> Tensor:
    """``ratio``, once it has one number a class of ``pred``."""
    check_floating('pred', pred)
    wanted = tuple(pred.shape[-1:])
    if not isinstance(ratio, Tensor) or tuple(ratio.shape) != wanted:
        got = tuple(ratio.shape) if isinstance(ratio, Tensor) else type(ratio).__name__
        raise ShapeError(f'ratio: expected {wanted}, a number for each class of pred, got {got}')
    return ratio.to(pred.device)


def dense_of(
    pred: Tensor, target: Target, weight: Tensor | None, owner: str
) -> tuple[Tensor, Tensor | None]:
    """Dense values of a target, and weights that leave its ignored rows out."""
    found = read_classes(owner, pred, target)
    if isinstance(found, ClassTargets):
        value, _, weight = dense_target(found, weight)
        check_same_shape(pred, value)
        return like_pred(value, pred), weight
    return found, weight


class BalancedByGradients(SigmoidLoss):
    """A loss that adds up the gradients of each class, and is balanced by their ratio.

    ``pos_neg``, the ratio that the next batch is weighed by, starts at ``first_ratio``. In
    training each batch adds to ``pos_grad`` and ``neg_grad``, summed over all ranks.
    """

    # Objectness has one class, and maps of keypoints have no rare ones: nothing to balance.
    kinds: tuple[Kind, ...] = ('classification',)
    first_ratio = 1.0

    def __init__(
        self,
        num_classes: int,
        reduction: str,
        loss_weight: float,
        class_weight: Sequence[float] | None,
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight)
        check_counts(self, num_classes=num_classes)
        check_columns('class_weight', self.class_weight, num_classes)
        self.num_classes = num_classes
        self.register_buffer('pos_grad', torch.zeros(num_classes))
        self.register_buffer('neg_grad', torch.zeros(num_classes))
        self.register_buffer('pos_neg', torch.full((num_classes,), self.first_ratio))
        self.pos_grad: Tensor
        self.neg_grad: Tensor
        self.pos_neg: Tensor

    def count(
        self, pred: Tensor, target: Target, weight: Tensor | None, factors: tuple[Tensor, Tensor]
    ) -> None:
        """Add the gradients of a batch.

        Args:
            pred: ``(R, C)`` logits.
            target: Its target.
            weight: Weights of rows or logits.
            factors: What the gradients ``|p - v|`` of positives and negatives are times.
        """
        with torch.no_grad():
            value, weight = dense_of(pred, target, weight, type(self).__name__)
            gradient = (in_float(pred).sigmoid() - value).abs()
            if weight is not None:
                gradient = gradient * fit_rows(weight, *pred.shape)
            positive, negative = factors[0] * value, factors[1] * (1 - value)
            sums = torch.stack([(gradient * part).sum(0) for part in (positive, negative)])
            all_reduce(sums)
            self.pos_grad += sums[0].to(self.pos_grad)
            self.neg_grad += sums[1].to(self.neg_grad)
            self.pos_neg.copy_(self.pos_grad / (self.neg_grad + 1e-10))

    def check_rows(self, pred: Tensor) -> None:
        """Refuse logits of another number of classes."""
        if pred.dim() != 2 or pred.shape[1] != self.num_classes:
            rows = pred.shape[0] if pred.dim() else 'R'
            raise ShapeError(
                f'pred: {type(self).__name__} expected ({rows}, {self.num_classes}), got '
                f'{tuple(pred.shape)}; it has no column for background'
            )
