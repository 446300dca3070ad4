"""What the losses of mutually exclusive classes share.

Shapes: R rows (class vectors), C classes without background.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ShapeError
from ..structures import ClassTargets
from .base import Target
from .checks import check_labels
from .reduction import fit_rows, like_pred


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
