"""What the losses of mutually exclusive classes share.

Shapes: R rows (class vectors), C classes without background.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ShapeError
from ..structures import ClassTargets
from .base import Target


@dataclass(frozen=True, eq=False)
class ExclusiveTarget:
    """One class a row, with a part of the row's mass left to the background.

    Args:
        label: ``(R,)`` int64, a valid class also where ``kept`` is False.
        kept: ``(R,)`` bool, False for rows that take no part.
        score: ``(R,)`` mass of the label; None where all is the label's.
    """

    label: Tensor
    kept: Tensor
    score: Tensor | None = None

    def expect(self, cost: Tensor) -> Tensor:
        """``(R,)`` cost of each row: ``q`` at its label, ``1 - q`` at the last class.

        Args:
            cost: ``(R, K)`` what each answer would cost.
        """
        loss = cost.gather(1, self.label[:, None]).squeeze(1)
        if self.score is not None:
            score = self.score.to(loss.dtype)
            loss = score * loss + (1 - score) * cost[:, -1]
        return loss.masked_fill(~self.kept, 0)


def exclusive_target(
    pred: Tensor, target: Target, ignore_index: int | None = None
) -> ExclusiveTarget:
    """Read a target for a softmax over the columns of ``pred``.

    Args:
        pred: ``(R, K)`` logits; K is C + 1 with the background last, or C.
        target: Int labels ``(R,)`` in [0, K), of which negative ones and ``ignore_index``
            take no part; or :class:`ClassTargets`, of which the best positive of a row
            counts: q at its class, 1 - q at the background, and rows that are ignored or
            only soft not at all. Without a background column, rows without a positive
            take no part and q counts as 1.
        ignore_index: A label that takes no part.

    Raises:
        ShapeError: If rows or columns do not fit.
    """
    if pred.dim() != 2:
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
    if not isinstance(target, Tensor):
        raise ShapeError(
            f'target: expected int labels ({r},) or ClassTargets, got {type(target).__name__}'
        )
    if tuple(target.shape) != (r,) or target.is_floating_point():
        raise ShapeError(
            f'target: expected int labels ({r},) or ClassTargets, got {target.dtype} '
            f'{tuple(target.shape)}'
        )
    kept = target >= 0
    if ignore_index is not None:
        kept = kept & (target != ignore_index)
    return ExclusiveTarget(target.long().masked_fill(~kept, 0), kept)
