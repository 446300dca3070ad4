"""The losses of independent classes: what one of them has to say, and how it is computed.

A loss gives a :class:`SigmoidRule`, the plain formula of a single logit in two halves: what a
logit costs where the target is 0, and what it costs elsewhere. :func:`sigmoid_loss` applies
it: to sparse targets and labels in the fused pass of :mod:`.fused`, to dense values element
by element.

Shapes: R rows (class vectors), C classes, E entries of a sparse target.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ShapeError
from ..structures import ClassTargets
from ..structures.loss_term import Kind
from .base import Activation, BaseLoss
from .checks import (
    check_call,
    check_columns,
    check_flags,
    check_floating,
    check_probabilities,
    column_tensor,
    is_transformed,
)
from .fused.dispatch import fused_elements, fused_sum
from .fused.job import SparseJob
from .fused.negatives import Negative, softplus
from .reduction import divisor, expand_weight, in_float, like_pred, reduce_loss
from .targets import all_ones, dense_target, read_classes, split_weight

# What a setting of each class is indexed with: the classes (E,) of some logits, or all of them.
Column = Tensor | slice
# Logits (or probabilities), their targets, which are positives (not Gaussian targets around
# one), their classes; to the losses.
OnTargets = Callable[[Tensor, Tensor, Tensor, Column], Tensor]


@dataclass(frozen=True, eq=False)
class SigmoidRule:
    """What a loss of independent classes charges a logit.

    Args:
        on_targets: The loss where the target is not 0.
        on_negatives: The loss where the target is 0, up to ``negative_weight``.
        negative_weight: A number or ``(C,)`` that multiplies ``on_negatives``.
        positive_weight: A positive of value 1 costs that times ``on_negatives(-x)``: a number
            or ``(C,)``; None where the two are not alike.
        on_probabilities: As ``on_targets``, for probabilities in place of logits.
        class_weight: ``(C,)``, multiplies the losses of each class, or None.
        is_positive: Which dense values mark positives.
        by_row: Whether the elements of the loss are rows, summed over the classes.
        class_dim: The dimension of the classes.
    """

    on_targets: OnTargets
    on_negatives: Negative
    negative_weight: float | Tensor = 1.0
    positive_weight: float | Tensor | None = None
    on_probabilities: OnTargets | None = None
    class_weight: Tensor | None = None
    is_positive: Callable[[Tensor], Tensor] = lambda value: value > 0
    by_row: bool = False
    class_dim: int = -1


def binary_cross_entropy(x: Tensor, value: Tensor) -> Tensor:
    """``-v log p - (1 - v) log(1 - p)`` at ``p = sigmoid(x)``, finite for any ``x``."""
    # Not softplus(x) - v x, whose digits cancel for large x.
    return value * softplus(-x) + (1 - value) * softplus(x)


def of_columns(setting: float | Tensor, column: Column) -> float | Tensor:
    """A setting, of the classes in ``column`` where there is one a class."""
    return setting[column] if isinstance(setting, Tensor) else setting


def class_setting(
    name: str,
    values: Sequence[float] | Tensor | None,
    pred: Tensor,
    *,
    highest: float = float('inf'),
    class_dim: int = -1,
) -> Tensor | None:
    """``(C,)`` float32 of a per-class setting where ``pred`` is, one number a class of it.

    Raises:
        ConfigError: See :func:`.checks.column_tensor`.
        ShapeError: If there is another number of classes.
    """
    check_floating('pred', pred)
    tensor = column_tensor(values, name, highest)
    if tensor is None:
        return None
    check_columns(name, tensor, pred.shape[class_dim] if pred.dim() > 1 else 1)
    return tensor.to(pred.device)


def sigmoid_loss(
    pred: Tensor,
    target: object,
    weight: Tensor | None,
    rule: SigmoidRule,
    *,
    owner: str,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    loss_weight: float = 1.0,
    activated: bool = False,
    compile: bool = False,
) -> Tensor:
    """The loss of logits ``(R, C)`` against values in [0, 1], class by class.

    The target may be

    * :class:`ClassTargets`: one fused pass, no one-hot;
    * int labels ``(R,)``, where C is background and a negative label an ignored row:
      the same pass. A label above C is an error on the CPU; elsewhere, where looking
      would be a host sync, it counts as background;
    * dense values of the shape of the logits, any shape: the plain formula.

    Args:
        pred: ``(R, C)`` logits; beside dense values any shape.
        target: See above.
        weight: One weight a row or an element.
        rule: What a logit costs.
        owner: The name of the loss, for messages.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        loss_weight: The loss is multiplied by it.
        activated: Whether ``pred`` are probabilities already: the plain formula.
        compile: Whether the CPU's pass is a loop in C.
    """
    check_call(pred, weight, reduction, avg_factor)
    if activated:
        check_probabilities(owner, pred)
    target = read_classes(owner, pred, target)
    weight = None if weight is None else like_pred(weight, pred)
    with torch.autocast(pred.device.type, enabled=False):
        if isinstance(target, Tensor):
            formula = rule.on_probabilities if activated else rule.on_targets
            loss = _dense(formula, pred, target, rule.is_positive(target), weight, rule)
            return loss_weight * reduce_loss(loss, reduction, None, avg_factor)
        if tuple(pred.shape) != (target.num_rows, target.num_classes):
            raise ShapeError(
                f'pred: expected {(target.num_rows, target.num_classes)}, the rows and classes '
                f'of the targets, got {tuple(pred.shape)}'
            )
        if activated:
            value, positive, weight = dense_target(target, weight)
            value, weight = like_pred(value, pred), like_pred(weight, pred)
            loss = _dense(rule.on_probabilities, pred, value, positive, weight, rule)
            return loss_weight * reduce_loss(loss, reduction, None, avg_factor)
        scale = _scale(pred, rule, reduction, avg_factor, loss_weight)
        job = sparse_job(rule, target, weight, scale, compile=compile)
        if target.values.requires_grad or is_transformed():
            # The fused pass has no gradient for targets, nor rules for torch.func.
            loss = job.elements(in_float(pred))
            if reduction != 'none':
                return loss.sum()
        elif reduction != 'none':
            return fused_sum(pred, job)
        else:
            loss = fused_elements(pred, job)
        return loss.sum(dim=1) if rule.by_row else loss


def _dense(
    formula: OnTargets | None,
    pred: Tensor,
    value: Tensor,
    positive: Tensor,
    weight: Tensor | None,
    rule: SigmoidRule,
) -> Tensor:
    """The weighted formula on every element, or row."""
    assert formula is not None, 'a rule without on_probabilities takes no activated=True'
    loss = formula(in_float(pred), value, positive, slice(None))
    if rule.class_weight is not None:
        classes = rule.class_weight.to(loss.dtype)
        after = loss.dim() - 1 - rule.class_dim if rule.class_dim > 0 else 0
        loss = loss * classes.reshape(-1, *[1] * after)
    if weight is not None and (weight.dim() >= loss.dim() or not rule.by_row):
        loss = loss * expand_weight(weight, loss)
        weight = None
    if rule.by_row and loss.dim() > 1:
        loss = loss.flatten(1).sum(dim=1)
    if weight is not None:
        loss = loss * expand_weight(weight, loss)
    return loss


def _scale(
    pred: Tensor,
    rule: SigmoidRule,
    reduction: str,
    avg_factor: Tensor | float | None,
    loss_weight: float,
) -> Tensor | float:
    if reduction != 'mean':
        return loss_weight
    if avg_factor is None:
        return loss_weight / max(pred.shape[0] if rule.by_row else pred.numel(), 1)
    return loss_weight / divisor(avg_factor, in_float(pred[:0]).dtype)


def sparse_job(
    rule: SigmoidRule,
    target: ClassTargets,
    weight: Tensor | None,
    scale: Tensor | float,
    *,
    compile: bool = False,
) -> SparseJob:
    """The rule on a sparse target, as the fused pass reads it.

    Args:
        rule: What a logit costs.
        target: E entries.
        weight: See :func:`.targets.split_weight`.
        scale: Multiplies the loss: a number or 0-d.
        compile: Whether the CPU's pass is a loop in C.
    """
    rows, classes = target.rows, target.classes
    row, full = split_weight(weight, target)
    column, negative_weight = rule.class_weight, rule.negative_weight
    if column is not None:
        column = column.to(target.values.dtype)
    target_weight: Tensor | float = 1.0
    if row is not None:
        target_weight = row.index_select(0, rows)
    if full is not None:
        target_weight = target_weight * full[rows, classes]
    if column is not None:
        target_weight = target_weight * column.index_select(0, classes)
    if isinstance(negative_weight, Tensor):
        column = negative_weight if column is None else column * negative_weight
        negative_weight = 1.0
    positive_weight = rule.positive_weight
    if positive_weight is not None:
        positive_weight = of_columns(positive_weight, classes) if all_ones(target) else None
    return SparseJob(
        on_negatives=rule.on_negatives,
        flat=torch.add(classes, rows, alpha=target.num_classes),
        on_targets=lambda x: rule.on_targets(
            x, target.values.to(x.dtype), target.positive, classes
        ),
        negative_weight=negative_weight,
        target_weight=target_weight,
        row=row,
        column=column,
        full=full,
        scale=scale,
        positive_weight=positive_weight,
        compile=compile,
    )


class SigmoidLoss(BaseLoss):
    """The settings that the losses of independent classes share.

    A subclass implements :meth:`BaseLoss.compute` by its function, which ends in
    :func:`sigmoid_loss`.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

    kinds: tuple[Kind, ...] = ('classification', 'objectness', 'centerness', 'heatmap')
    target_format = 'sparse'
    activation: Activation = 'sigmoid'
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

    def reads_probabilities(self, target: object) -> bool:
        """Whether ``pred`` is activated already, in a call with this target."""
        return self.activated
