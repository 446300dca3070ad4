"""The losses of mutually exclusive classes: what they share.

Shapes: R rows (class vectors), C classes without background, K columns: C + 1, or C where
there is no background.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError, UnsupportedModeError
from ..structures import ClassTargets
from .base import BaseLoss
from .checks import check_call, check_columns, check_flags, check_labels, column_tensor
from .reduction import fit_rows, in_float, like_pred, reduce_loss
from .targets import Target


def softmax_loss(
    pred: Tensor,
    target: Target,
    weight: Tensor | None,
    cost_of: Callable[[Tensor], Tensor],
    *,
    owner: str,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
) -> Tensor:
    """The loss of rows ``(R,)``: what the true class costs.

    Args:
        pred: ``(R, K)`` logits.
        target: See :func:`exclusive_target`.
        weight: ``(R,)``.
        cost_of: From the logarithms of the probabilities ``(R, K)``, what each class costs
            were it the true one, ``(R, K)``.
        owner: The name of the loss, for messages.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        class_weight: K numbers of at least 0 that multiply the costs of each class.
        loss_weight: The loss is multiplied by it.
    """
    check_call(pred, weight, reduction, avg_factor)
    with torch.autocast(pred.device.type, enabled=False):
        classes = column_tensor(class_weight)
        check_columns('class_weight', classes, pred.shape[-1] if pred.dim() > 1 else 1)
        rows = exclusive_target(pred, target, owner=owner)
        cost = cost_of(F.log_softmax(in_float(pred), dim=1))
        if classes is not None:
            cost = cost * classes.to(cost)
        loss = rows.expect(cost)
        weight = row_weights(weight, loss.shape[0])
        return loss_weight * reduce_loss(loss, reduction, weight, avg_factor)


def choose_activation(loss: BaseLoss, use_sigmoid: bool, activation: str | None) -> None:
    """Set a loss's ``activation``, and the kinds it serves, from its two options."""
    check_flags(loss, use_sigmoid=use_sigmoid)
    if activation not in (None, 'sigmoid', 'softmax'):
        raise UnsupportedModeError(
            f"{type(loss).__name__}: activation: expected 'sigmoid' or 'softmax', got "
            f'{activation!r}'
        )
    softmax = activation == 'softmax' or (activation is None and not use_sigmoid)
    loss.activation = 'softmax' if softmax else 'sigmoid'
    if softmax:
        loss.kinds = ('classification', 'objectness')


@dataclass(frozen=True, eq=False)
class ExclusiveTarget:
    """One class a row, with a part of the row's mass left to the background.

    Args:
        label: ``(R,)`` int64, a valid class also where ``kept`` is False.
        kept: ``(R,)`` bool, False for rows that take no part.
        score: ``(R,)`` mass of the label; None where all is the label's.
        mass: ``(R, K)`` mass of every class, in place of label and score; None without.
    """

    label: Tensor
    kept: Tensor
    score: Tensor | None = None
    mass: Tensor | None = None

    def expect(self, cost: Tensor) -> Tensor:
        """``(R,)`` cost of each row: ``q`` at its label, ``1 - q`` at the last class.

        Args:
            cost: ``(R, K)`` what each answer would cost.
        """
        if self.mass is not None or self.score is not None:
            # The cost of a class that a logit of -inf masks out; 0 times inf is no number.
            cost = cost.clamp(max=torch.finfo(cost.dtype).max)
        if self.mass is not None:
            return (self.mass * cost).sum(dim=1)
        loss = cost.gather(1, self.label[:, None]).squeeze(1)
        if self.score is not None:
            score = self.score.to(loss.dtype)
            loss = score * loss + (1 - score) * cost[:, -1]
        return loss.masked_fill(~self.kept, 0)


def exclusive_target(
    pred: Tensor,
    target: Target,
    ignore_index: int | None = None,
    *,
    owner: object = 'softmax',
    dense: bool = True,
) -> ExclusiveTarget:
    """Read a target for a softmax over the columns of ``pred``.

    Args:
        pred: ``(R, K)`` logits; K is C + 1 with the background last, or C.
        target: Int labels ``(R,)`` in [0, K), of which negative ones and ``ignore_index``
            take no part; or :class:`ClassTargets`, of which the best positive of a row
            counts: q at its class, 1 - q at the background, and rows that are ignored or
            only soft not at all. Without a background column, rows without a positive
            take no part and q counts as 1. Or dense values: ``(R, K)`` what each class has
            of a row, or ``(R, K - 1)`` where the background has the rest.
        ignore_index: A label that takes no part.
        owner: Whose target it is, for messages.
        dense: Whether dense values will do.

    Raises:
        DataError: See :func:`.checks.check_labels`.
        ShapeError: If rows or columns do not fit.
    """
    if pred.dim() != 2 or pred.shape[1] == 0:
        raise ShapeError(f'pred: expected (R, C + 1) logits for a softmax, got {tuple(pred.shape)}')
    r, k = pred.shape
    if isinstance(target, ClassTargets):
        if target.num_rows != r or k - target.num_classes not in (0, 1):
            raise ShapeError(
                f'pred: expected ({target.num_rows}, {target.num_classes + 1}), the rows and the '
                f'classes of the targets and one for background, got {(r, k)}'
            )
        label, score, weight = target.label_score()
        background = label == target.num_classes
        kept = weight > 0
        if k == target.num_classes:
            return ExclusiveTarget(label.masked_fill(background, 0), kept & ~background)
        return ExclusiveTarget(label, kept, torch.where(background, 1.0, score))
    forms = f'ClassTargets, int labels ({r},)'
    forms += f' or values ({r}, {k}) or ({r}, {k - 1})' if dense else ''
    if not isinstance(target, Tensor):
        raise ShapeError(f'target: expected {forms}, got {type(target).__name__}')
    if dense and tuple(target.shape) in ((r, k), (r, k - 1)):
        return _of_values(like_pred(target, pred), k)
    if tuple(target.shape) != (r,) or target.is_floating_point() or target.dtype == torch.bool:
        raise ShapeError(f'target: expected {forms}, got {target.dtype} {tuple(target.shape)}')
    target = target.long()
    kept = target >= 0
    if ignore_index is not None:
        kept = kept & (target != ignore_index)
    label = target.masked_fill(~kept, 0)
    check_labels(owner, label, k, background=False)
    return ExclusiveTarget(label, kept)


def _of_values(mass: Tensor, columns: int) -> ExclusiveTarget:
    """Dense values ``(R, K)``, or ``(R, K - 1)`` without the background's."""
    if mass.shape[1] < columns:
        rest = (1 - mass.sum(dim=1, keepdim=True)).clamp(min=0)
        mass = torch.cat((mass, rest), dim=1)
    label = mass.argmax(dim=1)
    return ExclusiveTarget(label, torch.ones_like(label, dtype=torch.bool), mass=mass)


def row_weights(weight: Tensor | None, rows: int) -> Tensor | None:
    """``(R,)`` weights of a loss that has one element a row.

    Raises:
        ShapeError: If there is another number of them.
    """
    return None if weight is None else fit_rows(weight, rows, 1)[:, 0]
