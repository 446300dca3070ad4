"""Weighting and reduction of a loss: the one place where both are done.

Shapes: R rows (priors, pairs, pixels), C classes or coordinates.
"""

import functools
import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import ShapeError
from .checks import check_floating, check_reduction, check_same_shape, check_weight

# OpenMMLab adds it to every avg_factor, which keeps 0 / 0 finite.
EPS = torch.finfo(torch.float32).eps


def in_float(tensor: Tensor) -> Tensor:
    """At least float32: half precision is widened, float64 stays."""
    if tensor.dtype in (torch.float16, torch.bfloat16) or not tensor.is_floating_point():
        return tensor.float()
    return tensor


def like_pred(target: Tensor, pred: Tensor) -> Tensor:
    """``target`` in the dtype in which the loss of ``pred`` is worked out."""
    return target.to(torch.float64 if pred.dtype == torch.float64 else torch.float32)


def expand_weight(weight: Tensor, loss: Tensor) -> Tensor:
    """``weight`` in a shape that multiplies ``loss`` element by element, in its dtype.

    Args:
        weight: Of the shape of ``loss``; or with fewer dimensions, ``(R,)`` for a loss
            ``(R, C)``; or with sizes of 1 (``(R, 1)``, ``(1, C)``); or flat with as many
            elements; or ``(R, 1)`` or ``(R, 4)`` for a loss ``(R,)``, of which the mean
            counts (a box's coordinate weights on an IoU loss).
        loss: Any shape.

    Raises:
        ShapeError: If none of these holds.
    """
    check_weight(weight)
    shape, size = weight.shape, loss.shape
    weight = weight.to(loss.dtype)
    if shape == size:
        return weight
    if shape[:-1] == size and shape[-1:] in ((1,), (4,)):
        return weight.mean(-1)
    if len(shape) < len(size) and shape == size[: len(shape)]:
        return weight.reshape(shape + (1,) * (len(size) - len(shape)))
    if len(shape) == len(size) and all(w in (1, s) for w, s in zip(shape, size)):
        return weight
    # One row of numbers for one loss, or one list of all elements, told by its length.
    if weight.numel() == 1 or (weight.numel() == loss.numel() and 1 in (len(shape), len(size))):
        return weight.reshape(size if weight.numel() > 1 else ())
    raise ShapeError(
        f'weight: expected the shape of the loss {tuple(size)} or of its leading dimensions, got '
        f'{tuple(shape)}'
    )


def fit_rows(weight: Tensor, rows: int, columns: int) -> Tensor:
    """``weight`` of a class target as ``(R, 1)`` or ``(R, C)``, at least float32.

    Args:
        weight: ``(R,)``, ``(R, 1)``, ``(R, C)``, ``(1, C)``, flat ``(R * C,)``, or one number.
        rows: R.
        columns: C.

    Raises:
        ShapeError: If it is none of these.
    """
    check_weight(weight)
    weight, shape = in_float(weight), tuple(weight.shape)
    if weight.numel() == 1:
        return weight.reshape(1, 1).expand(rows, 1)
    if shape[:1] == (rows,) and weight.numel() == rows:
        return weight.reshape(rows, 1)
    if shape in ((rows, columns), (rows * columns,)):
        return weight.reshape(rows, columns)
    if shape == (1, columns):
        return weight.expand(rows, columns)
    raise ShapeError(f'weight: expected ({rows},), ({rows}, 1) or ({rows}, {columns}), got {shape}')


def divisor(avg_factor: Tensor | float, dtype: torch.dtype) -> Tensor | float:
    """``avg_factor + eps``, a number or 0-d of ``dtype``; one below 0 counts as 0."""
    if isinstance(avg_factor, Tensor):
        avg_factor = avg_factor.reshape(()).to(dtype).clamp(min=0)
    return avg_factor + EPS


def mean_of(total: Tensor, count: int, avg_factor: Tensor | float | None) -> Tensor:
    """``total`` over ``avg_factor``, or over ``count`` elements where there is none.

    With nothing to average the total, a zero that is still part of the graph.
    """
    if avg_factor is not None:
        return total / divisor(avg_factor, total.dtype)
    return total / max(count, 1)


def reduce_loss(
    loss: Tensor,
    reduction: str = 'mean',
    weight: Tensor | None = None,
    avg_factor: Tensor | float | None = None,
) -> Tensor:
    """Weight an element-wise loss and reduce it.

    Args:
        loss: Any shape.
        reduction: ``'none'``: the weighted elements; ``'sum'``; ``'mean'``: the sum over
            ``avg_factor + eps`` where that is given, else over the number of elements
            (of an empty loss: 0, with a gradient).
        weight: See :func:`expand_weight`.
        avg_factor: A number or a 0-d tensor; ignored by ``'none'``.

    Raises:
        ConfigError: See :func:`check_reduction`.
        ShapeError: See :func:`expand_weight`.
    """
    check_reduction(reduction, avg_factor)
    if weight is not None:
        loss = loss * expand_weight(weight, loss)
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        return loss.sum()
    return mean_of(loss.sum(), loss.numel(), avg_factor)


def reducible(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give an element-wise loss function ``weight``, ``reduction`` and ``avg_factor``.

    They follow the target, in OpenMMLab's order, and mean what they mean in
    :func:`reduce_loss`; the function's own options are keywords. Half precision is widened
    to float32. Prediction and target must have one shape: neither is broadcast.
    """

    @functools.wraps(function)
    def reduced(
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        reduction: str = 'mean',
        avg_factor: Tensor | float | None = None,
        **options: float | str | bool,
    ) -> Tensor:
        check_reduction(reduction, avg_factor)
        check_floating('pred', pred)
        check_same_shape(pred, target)
        check_weight(weight)
        loss = function(in_float(pred), like_pred(target, pred), **options)
        return reduce_loss(loss, reduction, weight, avg_factor)

    own = inspect.signature(function)
    pred, target, *options = own.parameters.values()
    added = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
        for name, default in (('weight', None), ('reduction', 'mean'), ('avg_factor', None))
    ]
    reduced.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[pred, target, *added, *options]
    )
    return reduced
