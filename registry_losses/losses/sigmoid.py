"""SigmoidLoss: what the losses of independent classes share.

Shapes: R rows (class vectors), C classes, E non-zero entries of a sparse target.
"""

import functools
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ShapeError
from ..structures import ClassTargets
from ..structures.loss_term import Kind
from .base import Activation, BaseLoss, Target, read_classes
from .checks import (
    check_columns,
    check_flags,
    check_probabilities,
    column_tensor,
    is_transformed,
    may_read,
)
from .fused.dispatch import fused_elements, fused_sum
from .fused.job import SparseJob
from .fused.negatives import Negative, softplus
from .reduction import divisor, expand_weight, fit_rows, in_float, like_pred, reduce_loss

# What a per-class setting is indexed with: classes (E,), or all of them.
Column = Tensor | slice
ALL = slice(None)


def binary_cross_entropy(x: Tensor, value: Tensor) -> Tensor:
    """``-v log p - (1 - v) log(1 - p)`` at ``p = sigmoid(x)``, finite for any ``x``."""
    # Not softplus(x) - v x, whose digits cancel for large x.
    return value * softplus(-x) + (1 - value) * softplus(x)


class SigmoidLoss(BaseLoss):
    """A loss of logits ``(R, C)`` against values in [0, 1], class by class.

    Beside dense values the logits may have any shape, ``(..., C)`` if a setting is one a
    class. A subclass says what it costs to predict ``x`` where the target is 0
    (:meth:`negative`) and where it is not (:meth:`at`). The target may be

    * :class:`ClassTargets`: one fused pass, no one-hot;
    * int labels ``(R,)``, where C is background and a negative label an ignored row:
      the same pass. A label above C is an error on the CPU; elsewhere, where looking
      would wait for the device, it counts as background;
    * dense values of the shape of the logits: the plain formula.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

    kinds: tuple[Kind, ...] = ('classification', 'objectness', 'centerness', 'heatmap')
    target_format = 'sparse'
    activation: Activation = 'sigmoid'
    # Whether the elements of the loss are rows, summed over the classes.
    by_row = False
    # Whether ``pred`` holds probabilities, on which the plain formula works alone.
    activated = False

    def __init__(
        self,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        class_weight: Sequence[float] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.register_buffer('class_weight', column_tensor(class_weight), persistent=False)
        self.class_weight: Tensor | None
        check_flags(self, compile=compile)
        self.compiled = compile

    @abstractmethod
    def negative(self) -> Negative:
        """The loss at target 0, up to :meth:`negative_weight`."""

    def negative_weight(self) -> float | Tensor:
        """A number or ``(C,)`` that multiplies :meth:`negative`."""
        return 1.0

    @abstractmethod
    def at(self, x: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """The loss of logits whose targets are ``value``.

        Args:
            x: Logits, any shape.
            value: Their targets in [0, 1].
            positive: bool, which of them are positives, not Gaussian targets around one.
            column: The classes of the logits, to index per-class settings with.
        """

    def mirror(self, column: Tensor) -> float | Tensor | None:
        """Of objects whose target is 1: what :meth:`at` is times :meth:`negative` of ``-x``.

        Args:
            column: ``(E,)`` their classes.

        Returns:
            A number, ``(E,)``, or None where the two are not alike.
        """
        return None

    def at_probability(self, p: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """As :meth:`at`, for probabilities in place of logits."""
        raise NotImplementedError

    def positive_at(self, value: Tensor) -> Tensor:
        """Which dense target values are objects."""
        return value > 0

    def reads_probabilities(self, target: Target) -> bool:
        """Whether ``pred`` is activated already, in a call with this target."""
        return self.activated

    def spread(self, column: Tensor, loss: Tensor) -> Tensor:
        """Class weights ``(C,)`` in a shape that multiplies an element-wise loss."""
        return column

    def num_columns(self, pred: Tensor) -> int:
        """C, of ``(..., C)``; 1 of logits without classes."""
        return pred.shape[-1] if pred.dim() > 1 else 1

    def check_columns(self, pred: Tensor) -> None:
        """Refuse per-class settings that do not fit ``pred``."""
        check_columns('class_weight', self.class_weight, self.num_columns(pred))

    def column_weight(self) -> Tensor | None:
        """``(C,)`` that multiplies positive and negative terms alike."""
        return self.class_weight

    def read_target(self, pred: Tensor, target: Target) -> Tensor | ClassTargets:
        """Labels to sparse targets; dense values and sparse targets as they are."""
        return read_classes(self, pred, target)

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """See :meth:`BaseLoss.compute`."""
        self.check_columns(pred)
        activated = self.reads_probabilities(target)
        if activated:
            check_probabilities(self, pred)
        target = self.read_target(pred, target)
        dense = functools.partial(
            self._dense, pred, reduction=reduction, avg_factor=avg_factor, activated=activated
        )
        if isinstance(target, Tensor):
            return dense(target, self.positive_at(target), weight)
        if tuple(pred.shape) != (target.num_rows, target.num_classes):
            raise ShapeError(
                f'pred: expected {(target.num_rows, target.num_classes)}, the rows and classes '
                f'of the targets, got {tuple(pred.shape)}'
            )
        if activated:
            value, positive, weight = dense_target(target, weight)
            return dense(like_pred(value, pred), positive, like_pred(weight, pred))
        scale = self._scale(pred, reduction, avg_factor)
        job = self._job(target, weight, scale)
        if target.values.requires_grad or is_transformed():
            # The fused pass has no gradient for targets, nor rules for torch.func.
            loss = job.elements(in_float(pred))
            if reduction != 'none':
                return loss.sum()
        elif reduction != 'none':
            return fused_sum(pred, job)
        else:
            loss = fused_elements(pred, job)
        return loss.sum(dim=1) if self.by_row else loss

    def _dense(
        self,
        pred: Tensor,
        value: Tensor,
        positive: Tensor,
        weight: Tensor | None,
        *,
        reduction: str,
        avg_factor: Tensor | float | None,
        activated: bool,
    ) -> Tensor:
        """The plain formula on every element."""
        formula = self.at_probability if activated else self.at
        loss = formula(in_float(pred), value, positive, ALL)
        column = self.column_weight()
        if column is not None:
            loss = loss * self.spread(column.to(loss.dtype), loss)
        if weight is not None and (weight.dim() >= loss.dim() or not self.by_row):
            loss = loss * expand_weight(weight, loss)
            weight = None
        if self.by_row and loss.dim() > 1:
            loss = loss.flatten(1).sum(dim=1)
        if weight is not None:
            loss = loss * expand_weight(weight, loss)
        return self.loss_weight * reduce_loss(loss, reduction, None, avg_factor)

    def _scale(
        self, pred: Tensor, reduction: str, avg_factor: Tensor | float | None
    ) -> Tensor | float:
        if reduction != 'mean':
            return self.loss_weight
        if avg_factor is None:
            return self.loss_weight / max(pred.shape[0] if self.by_row else pred.numel(), 1)
        return self.loss_weight / divisor(avg_factor, in_float(pred[:0]).dtype)

    def _job(self, target: ClassTargets, weight: Tensor | None, scale: Tensor | float) -> SparseJob:
        rows, classes = target.rows, target.classes
        row, full = split_weight(weight, target)
        column, factor = self.column_weight(), self.negative_weight()
        if column is not None:
            column = column.to(target.values.dtype)
        entry_weight: Tensor | float = 1.0
        if row is not None:
            entry_weight = row.index_select(0, rows)
        if full is not None:
            entry_weight = entry_weight * full[rows, classes]
        if column is not None:
            entry_weight = entry_weight * column.index_select(0, classes)
        if isinstance(factor, Tensor):
            column, factor = factor if column is None else column * factor, 1.0
        return SparseJob(
            negative=self.negative(),
            flat=torch.add(classes, rows, alpha=target.num_classes),
            entry=lambda x: self.at(x, target.values.to(x.dtype), target.positive, classes),
            factor=factor,
            entry_weight=entry_weight,
            row=row,
            column=column,
            full=full,
            scale=scale,
            mirror=self.mirror(classes) if is_hard(target) else None,
            compile=self.compiled,
        )


def dense_target(target: ClassTargets, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Values, positives and weights ``(R, C)`` of a sparse target."""
    row, full = split_weight(weight, target)
    value = target.dense()
    positive = torch.zeros_like(value, dtype=torch.bool)
    positive.index_put_((target.rows, target.classes), target.positive)
    dense = torch.ones_like(value) if full is None else full
    return value, positive, dense if row is None else dense * row[:, None]


def is_hard(target: ClassTargets) -> bool:
    """Whether every entry is known to be an object of value 1."""
    values, positive = target.values, target.positive
    if not may_read(values):
        return False
    # NumPy reads a few numbers in a fraction of the time.
    return bool((in_float(values.detach()).numpy() == 1).all() and positive.numpy().all())


def split_weight(
    weight: Tensor | None, target: ClassTargets
) -> tuple[Tensor | None, Tensor | None]:
    """A loss's weight as ``(R,)`` row weights, 0 in ignored rows, and ``(R, C)`` weights.

    Raises:
        ShapeError: See :func:`.reduction.fit_rows`.
    """
    row = full = None
    if weight is not None:
        weight = fit_rows(weight, target.num_rows, target.num_classes)
        if weight.shape[1] == 1:
            row = weight[:, 0]
        else:
            full = weight
    # Reading one flag is free on the CPU and a wait on any other device.
    if may_read(target.ignored) and not target.ignored.numpy().any():
        return row, full
    if row is None:
        return (~target.ignored).float(), full
    return torch.where(target.ignored, 0.0, row), full
