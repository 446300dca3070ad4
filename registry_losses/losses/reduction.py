"""Weighting and reduction of a loss: the one place where both are done.

Shapes: R rows (priors, pairs, pixels), C classes or coordinates.
"""

import functools
import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import ConfigError, ShapeError

REDUCTIONS = ('none', 'mean', 'sum')

# OpenMMLab adds it to every avg_factor, which keeps 0 / 0 finite.
EPS = torch.finfo(torch.float32).eps


def in_float(tensor: Tensor) -> Tensor:
    """At least float32: half precision is widened, float64 stays."""
    if tensor.dtype in (torch.float16, torch.bfloat16) or not tensor.is_floating_point():
        return tensor.float()
    return tensor


def check_same_shape(pred: Tensor, target: Tensor) -> None:
    """Raise :class:`ShapeError` unless both have one shape."""
    if pred.shape != target.shape:
        raise ShapeError(
            f'target: expected the shape of pred {tuple(pred.shape)}, got {tuple(target.shape)}'
        )


def check_reduction(reduction: str, avg_factor: Tensor | float | None = None) -> str:
    """``reduction``, if there is such a thing and it may be used with ``avg_factor``.

    Raises:
        ConfigError: (a ``ValueError``) If it is none of 'none', 'mean', 'sum', or if it
            is 'sum' although there is an ``avg_factor`` to divide by.
    """
    if reduction not in REDUCTIONS:
        raise ConfigError(f"reduction: expected one of 'none', 'mean', 'sum', got {reduction!r}")
    if reduction == 'sum' and avg_factor is not None:
        raise ConfigError(
            'avg_factor can not be used with reduction="sum": a sum is divided by nothing; '
            'use reduction="mean" or leave avg_factor out'
        )
    return reduction


def expand_weight(weight: Tensor, loss: Tensor) -> Tensor:
    """``weight`` in a shape that multiplies ``loss`` element by element.

    Args:
        weight: Of the shape of ``loss``; or with fewer dimensions, ``(R,)`` for a loss
            ``(R, C)``; or with sizes of 1 (``(R, 1)``); or flat with as many elements;
            or with one dimension more, ``(R, 4)`` for a loss ``(R,)``, of which the
            mean counts (a box's coordinate weights on an IoU loss).
        loss: Any shape.

    Raises:
        ShapeError: If none of these holds.
    """
    if weight.shape == loss.shape:
        return weight
    if weight.dim() == loss.dim() + 1 and weight.shape[:-1] == loss.shape:
        return weight.mean(-1)
    if weight.dim() < loss.dim() and weight.shape == loss.shape[: weight.dim()]:
        return weight.reshape(weight.shape + (1,) * (loss.dim() - weight.dim()))
    if weight.dim() == loss.dim() and all(
        w in (1, size) for w, size in zip(weight.shape, loss.shape)
    ):
        return weight
    if weight.numel() == loss.numel():
        return weight.reshape(loss.shape)
    raise ShapeError(
        f'weight: expected the shape of the loss {tuple(loss.shape)} or of its leading '
        f'dimensions, got {tuple(weight.shape)}'
    )


def mean_of(total: Tensor, count: int, avg_factor: Tensor | float | None) -> Tensor:
    """``total`` over ``avg_factor``, or over ``count`` elements where there is none.

    With nothing to average the total, a zero that is still part of the graph.
    """
    if avg_factor is not None:
        return total / (avg_factor + EPS)
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
    """Give an element-wise loss function the keywords ``weight``, ``reduction``, ``avg_factor``.

    They mean what they mean in :func:`reduce_loss`; half precision is widened to float32.
    Prediction and target must have one shape: neither is broadcast.
    """

    @functools.wraps(function)
    def reduced(
        pred: Tensor,
        target: Tensor,
        *args: float | str | bool,
        weight: Tensor | None = None,
        reduction: str = 'mean',
        avg_factor: Tensor | float | None = None,
        **options: float | str | bool,
    ) -> Tensor:
        check_same_shape(pred, target)
        loss = function(in_float(pred), in_float(target), *args, **options)
        return reduce_loss(loss, reduction, weight, avg_factor)

    own = inspect.signature(function)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in (('weight', None), ('reduction', 'mean'), ('avg_factor', None))
    ]
    reduced.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*own.parameters.values(), *added]
    )
    return reduced
