"""What a loss of classes may be compared with: sparse targets, labels, dense values.

Shapes: R rows (class vectors), C classes, E entries of a sparse target.
"""

import torch
from torch import Tensor

from ..errors import ShapeError
from ..structures import ClassTargets
from .checks import check_labels, may_read, owner_name
from .reduction import fit_rows, in_float, like_pred

# What a loss may be compared with: values, labels and scores, or sparse class targets.
Target = Tensor | tuple[Tensor, Tensor] | ClassTargets


def is_labels(pred: Tensor, target: Tensor) -> bool:
    """Whether ``target`` holds int labels ``(R,)`` for logits ``(R, C)``."""
    rows = pred.dim() == 2 and target.dim() == 1 and target.shape[0] == pred.shape[0]
    # Not bool: a mask of objects read as labels would be class 0 and class 1.
    return rows and not target.is_floating_point() and target.dtype != torch.bool


def from_labels(
    owner: object, pred: Tensor, labels: Tensor, scores: Tensor | None = None
) -> ClassTargets:
    """The sparse target of labels ``(R,)`` for ``pred (R, C)``: C is background."""
    check_labels(owner, labels, pred.shape[1], background=True)
    return ClassTargets.from_labels(labels, pred.shape[1], scores=scores)


def read_classes(owner: object, pred: Tensor, target: object) -> Tensor | ClassTargets:
    """Labels as sparse targets; dense values and sparse targets as they are.

    Args:
        owner: The loss, or its name, for messages.
        pred: ``(R, C)``, or any shape beside dense values.
        target: :class:`ClassTargets`, int labels ``(R,)`` or values of the shape of ``pred``.

    Raises:
        DataError: See :func:`.checks.check_labels`.
        ShapeError: If it is none of these.
    """
    if isinstance(target, ClassTargets):
        return target
    if not isinstance(target, Tensor):
        raise ShapeError(
            f'target: {owner_name(owner)} expected ClassTargets, labels or dense values, got '
            f'{type(target).__name__}'
        )
    if target.shape == pred.shape:
        return like_pred(target, pred)
    if not is_labels(pred, target):
        raise ShapeError(
            f'target: expected ClassTargets, int labels {tuple(pred.shape[:1])} or values '
            f'{tuple(pred.shape)}, got {target.dtype} {tuple(target.shape)}'
        )
    return from_labels(owner, pred, target)


def row_weight(weight: Tensor | None, target: ClassTargets) -> Tensor:
    """``(R, 1)`` or ``(R, C)`` weights that are 0 in the ignored rows of ``target``."""
    kept = ~target.ignored[:, None]
    if weight is None:
        return kept.float()
    weight = fit_rows(weight, target.num_rows, target.num_classes)
    return torch.where(kept, weight, 0)


def dense_target(target: ClassTargets, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Values, positives and weights ``(R, C)`` of a sparse target."""
    row, full = split_weight(weight, target)
    value = target.dense()
    positive = torch.zeros_like(value, dtype=torch.bool)
    positive.index_put_((target.rows, target.classes), target.positive)
    dense = torch.ones_like(value) if full is None else full
    return value, positive, dense if row is None else dense * row[:, None]


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
    # Reading one flag is free on the CPU and a host sync on any other device.
    if may_read(target.ignored) and not target.ignored.numpy().any():
        return row, full
    if row is None:
        return (~target.ignored).float(), full
    return torch.where(target.ignored, 0.0, row), full


def all_ones(target: ClassTargets) -> bool:
    """Whether every entry is known to be a positive of value 1."""
    values, positive = target.values, target.positive
    if not may_read(values):
        return False
    # NumPy reads a few numbers in a fraction of the time.
    return bool((in_float(values.detach()).numpy() == 1).all() and positive.numpy().all())


def sparse_of(values: Tensor) -> ClassTargets:
    """The sparse target of dense ``(R, C)`` values, whatever is not 0 positive."""
    rows, classes = values.nonzero().unbind(1)
    return ClassTargets(
        rows=rows,
        classes=classes,
        values=values[rows, classes],
        positive=torch.ones_like(rows, dtype=torch.bool),
        ignored=torch.zeros(values.shape[0], dtype=torch.bool, device=values.device),
        num_classes=values.shape[1],
    )
