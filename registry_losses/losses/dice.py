"""Dice loss.

Shapes: N samples, each flattened to D elements.
"""

import math
from collections.abc import Sequence

from torch import Tensor

from ..errors import ShapeError
from ..registry import MODELS
from ..structures import ClassTargets
from .base import BaseLoss, call_order, require_sigmoid
from .checks import (
    check_columns,
    check_flags,
    check_floating,
    check_numbers,
    check_same_shape,
    column_tensor,
)
from .reduction import in_float, like_pred, reduce_loss
from .targets import Target, dense_target, read_classes


def dice_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    eps: float = 1e-3,
    naive_dice: bool = False,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
) -> Tensor:
    """``1 - 2 |p v| / (|p|^2 + |v|^2)`` of every sample.

    Source: F. Milletari et al., V-Net (2016), section 3.

    Args:
        pred: ``(N, ...)`` probabilities.
        target: Its shape, in [0, 1].
        eps: Keeps the fraction finite, above 0; by default it is added to both squares, with
            ``naive_dice`` to numerator and denominator.
        naive_dice: Plain sums in the denominator in place of sums of squares.
        weight: ``(N,)``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
    """
    check_floating('pred', pred)
    check_same_shape(pred, target)
    if pred.dim() == 0:
        raise ShapeError('pred: expected (N, ...) samples, got ()')
    check_numbers('dice_loss', low=0, above=True, eps=eps)
    p, v = in_float(pred), like_pred(target, pred)
    # Sizes are written out: -1 is ambiguous without samples, or with samples of nothing.
    size = math.prod(p.shape[1:])
    p, v = p.reshape(p.shape[0], size), v.reshape(p.shape[0], size)
    both = (p * v).sum(1)
    if naive_dice:
        dice = (2 * both + eps) / (p.sum(1) + v.sum(1) + eps)
    else:
        dice = 2 * both / ((p * p).sum(1) + eps + ((v * v).sum(1) + eps))
    return reduce_loss(1 - dice, reduction, weight, avg_factor)


@MODELS.register_module()
class DiceLoss(BaseLoss):
    """:func:`dice_loss` with an optional sigmoid.

    With sparse targets or int labels a sample is a class, over all rows that take part.

    Plain formula: ``dice`` in ``testing/reference/losses/classes.py``.

    Args:
        use_sigmoid: The activation; there is no other.
        activate: Whether ``pred`` are logits.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        naive_dice: See :func:`dice_loss`.
        loss_weight: The loss is multiplied by it.
        eps: See :func:`dice_loss`.
        class_weight: C numbers of at least 0, the weights of the classes of a sparse target
            or of labels; refused beside a dense target, whose samples are no classes.
    """

    kinds = ('classification', 'heatmap')
    target_format = 'sparse'

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = 'mean',
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        eps: float = 1e-3,
        *,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        require_sigmoid(self, use_sigmoid)
        check_flags(self, activate=activate, naive_dice=naive_dice)
        check_numbers(self, low=0, above=True, eps=eps)
        self.activation = 'sigmoid' if activate else 'identity'
        self.naive_dice = naive_dice
        self.eps = eps
        self.register_buffer('class_weight', column_tensor(class_weight), persistent=False)
        self.class_weight: Tensor | None

    def forward(  # type: ignore[override]
        self,
        pred: Tensor,
        target: Tensor | ClassTargets,
        weight: Tensor | None = None,
        reduction_override: str | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """The loss; note the order of the last two.

        Args:
            pred: ``(N, ...)``, or ``(R, C)`` with a sparse target.
            target: Its shape, :class:`ClassTargets`, or int labels ``(R,)``, where C is
                background and a negative label an ignored row.
            weight: ``(N,)``; with a sparse target or labels ``(R,)`` or ``(R, C)``.
            reduction_override: In place of ``reduction``.
            avg_factor: What a mean divides by; with a sparse target it has no effect,
                as a share of overlap needs no counting of positives.
        """
        reduction_override, avg_factor = call_order(reduction_override, avg_factor)
        return super().forward(pred, target, weight, avg_factor, reduction_override)

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """See :meth:`BaseLoss.compute`."""
        p = in_float(pred)
        if self.use_sigmoid:
            p = p.sigmoid()
        target = read_classes(self, pred, target)
        if isinstance(target, ClassTargets):
            check_columns('class_weight', self.class_weight, target.num_classes)
            target, _, mask = dense_target(target, weight)
            check_same_shape(pred, target)
            target, mask = like_pred(target, pred), like_pred(mask, pred)
            # A weight counts a row that often: it goes into products and squares alike.
            root = mask.sqrt()
            p, target = (p * root).T, (target * root).T
            weight, avg_factor = self.class_weight, None
        elif self.class_weight is not None:
            raise ShapeError(
                'target: class_weight expected ClassTargets or labels, whose samples are classes, '
                f'got {type(target).__name__} for pred {tuple(pred.shape)}'
            )
        loss = dice_loss(
            p,
            target,
            eps=self.eps,
            naive_dice=self.naive_dice,
            weight=weight,
            reduction=reduction,
            avg_factor=avg_factor,
        )
        return self.loss_weight * loss
