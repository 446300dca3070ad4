"""What a loss refuses: settings out of their range, and calls that cannot be meant.

Every message states what was expected and what came. Values of tensors are read where
that needs no host sync (:func:`may_read`): on the CPU, outside of traced code.
"""

import math
from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

from ..errors import ConfigError, DataError, ShapeError, UnsupportedModeError

REDUCTIONS = ('none', 'mean', 'sum')


def owner_name(owner: object) -> str:
    """What a message calls ``owner``: a text itself, anything else by its class."""
    return owner if isinstance(owner, str) else type(owner).__name__


def check_numbers(
    owner: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: bool = False,
    below: bool = False,
    **numbers: object,
) -> None:
    """Refuse settings that are no finite numbers from ``low`` to ``high``.

    Args:
        owner: The loss, or the name of the function.
        low: The least number that will do.
        high: The largest.
        above: Whether ``low`` itself is refused.
        below: Whether ``high`` itself is refused.
        **numbers: Name of a setting to its value.

    Raises:
        ConfigError: With the range and the value.
    """
    for name, value in numbers.items():
        if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
            number = float(value)
            if low <= number <= high and not (
                (above and number == low) or (below and number == high)
            ):
                continue
        lower = f'{"above" if above else "of at least"} {low:g}' if low > -math.inf else ''
        upper = f'{"below" if below else "of at most"} {high:g}' if high < math.inf else ''
        limits = ' and '.join(limit for limit in (lower, upper) if limit) or 'that is finite'
        raise ConfigError(f'{owner_name(owner)}: {name}: expected a number {limits}, got {value!r}')


def check_counts(owner: object, **counts: object) -> None:
    """Refuse settings that are no whole numbers of at least 1."""
    for name, value in counts.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ConfigError(
                f'{owner_name(owner)}: {name}: expected a whole number of at least 1, got {value!r}'
            )


def check_flags(owner: object, **flags: object) -> None:
    """Refuse settings that are neither True nor False: a number there is a slip of position."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ConfigError(f'{owner_name(owner)}: {name}: expected True or False, got {value!r}')


def check_choice(owner: object, name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a setting that is none of ``choices``."""
    if value not in choices:
        raise ConfigError(
            f'{owner_name(owner)}: {name}: expected one of {", ".join(choices)}, got {value!r}'
        )


def check_reduction(reduction: str, avg_factor: Tensor | float | None = None) -> str:
    """``reduction``, if there is such a thing and it may be used with ``avg_factor``.

    Raises:
        ConfigError: (a ``ValueError``) If it is none of 'none', 'mean', 'sum' (then an
            ``AssertionError`` too, as OpenMMLab's), if it is 'sum' although there is an
            ``avg_factor`` to divide by, or if that is no number of at least 0 (of a tensor
            looked at on the CPU alone; elsewhere one below 0 counts as 0).
        ShapeError: If ``avg_factor`` is a tensor of several numbers.
    """
    if reduction not in REDUCTIONS:
        raise UnsupportedModeError(
            f"reduction: expected one of 'none', 'mean', 'sum', got {reduction!r}"
        )
    if avg_factor is None:
        return reduction
    if not isinstance(avg_factor, Tensor):
        check_numbers('loss', low=0, avg_factor=avg_factor)
    elif avg_factor.numel() != 1:
        raise ShapeError(
            f'avg_factor: expected a number or a tensor of one, got {tuple(avg_factor.shape)}; '
            'divisors of single rows are a weight'
        )
    elif may_read(avg_factor) and float(avg_factor) < 0:
        raise ConfigError(
            f'loss: avg_factor: expected a number of at least 0, got {float(avg_factor):g}'
        )
    if reduction == 'sum':
        raise ConfigError(
            'avg_factor can not be used with reduction="sum": a sum is divided by nothing; '
            'use reduction="mean" or leave avg_factor out'
        )
    return reduction


def check_floating(name: str, tensor: object) -> None:
    """Raise :class:`ShapeError` unless ``tensor`` is a tensor of floating point numbers."""
    if not isinstance(tensor, Tensor):
        raise ShapeError(f'{name}: expected a floating point tensor, got {type(tensor).__name__}')
    if not tensor.is_floating_point():
        raise ShapeError(f'{name}: expected a floating point tensor, got {tensor.dtype}')


def check_weight(weight: object) -> None:
    """Raise :class:`ShapeError` unless ``weight`` is a tensor or None."""
    if weight is not None and not isinstance(weight, Tensor):
        raise ShapeError(
            f'weight: expected a tensor or None, got {type(weight).__name__}; one number for all '
            'is loss_weight of the loss, a divisor is avg_factor'
        )


def check_call(
    pred: object, weight: object, reduction: str, avg_factor: Tensor | float | None
) -> None:
    """What every loss asks of a call.

    Raises:
        ConfigError: See :func:`check_reduction`.
        ShapeError: If ``pred`` holds no floating point numbers, or ``weight`` is no tensor.
    """
    check_reduction(reduction, avg_factor)
    check_floating('pred', pred)
    check_weight(weight)


def check_same_shape(pred: Tensor, target: object) -> Tensor:
    """``target``; raise :class:`ShapeError` unless both are tensors of one shape."""
    if not isinstance(target, Tensor):
        raise ShapeError(
            f'target: expected a tensor of the shape of pred {tuple(pred.shape)}, got '
            f'{type(target).__name__}'
        )
    if pred.shape != target.shape:
        raise ShapeError(
            f'target: expected the shape of pred {tuple(pred.shape)}, got {tuple(target.shape)}'
        )
    return target


def is_compiling() -> bool:
    """Whether Dynamo is tracing this call."""
    probe = getattr(torch.compiler, 'is_compiling', None)
    return probe() if probe is not None else False


def is_transformed() -> bool:
    """Whether a transform of ``torch.func`` (grad, vmap, jvp ...) or forward AD is at work."""
    probe = getattr(torch._C, '_are_functorch_transforms_active', None)
    dual = getattr(torch.autograd.forward_ad, '_current_level', -1) >= 0
    return dual or (probe() if probe is not None else False)


def may_read(tensor: Tensor) -> bool:
    """Whether looking at values of ``tensor`` needs no host sync and breaks no trace."""
    return tensor.device.type == 'cpu' and not is_compiling() and not is_transformed()


def check_probabilities(owner: object, pred: Tensor) -> None:
    """Refuse logits in the place of probabilities; on the CPU only, as :func:`check_labels`.

    Raises:
        DataError: With the range that came.
    """
    if not may_read(pred) or pred.numel() == 0:
        return
    # In float32: before PyTorch 2.2 half precision has no aminmax on a CPU.
    low, high = (float(end) for end in pred.detach().float().aminmax())
    if low < 0 or high > 1:
        raise DataError(
            f'{owner_name(owner)}: pred: expected probabilities from 0 to 1, got {low:g} to '
            f'{high:g}; for logits use use_sigmoid=True and activated=False'
        )


def check_indices(rows: object, labels: object, pred: Tensor) -> tuple[Tensor, Tensor]:
    """Peaks ``(P,)`` by row and class, if they are places of ``pred (R, C)``.

    Raises:
        DataError: If one lies outside (looked at on the CPU alone).
        ShapeError: If they are no pair of index vectors.
    """
    parts = tuple(part for part in (rows, labels) if isinstance(part, Tensor))
    right = pred.dim() == 2 and len(parts) == 2 and parts[0].shape == parts[1].shape
    if not right or any(part.dim() != 1 or part.dtype != torch.int64 for part in parts):
        got = ' and '.join(
            f'{part.dtype} {tuple(part.shape)}' if isinstance(part, Tensor) else repr(part)
            for part in (rows, labels)
        )
        raise ShapeError(
            'pos_inds and pos_labels: expected int64 (P,) both, beside pred (R, C), got '
            f'{got} beside pred {tuple(pred.shape)}; the weight is the fifth argument'
        )
    for name, part, size in zip(('pos_inds', 'pos_labels'), parts, pred.shape):
        if may_read(part) and part.numel() and not 0 <= int(part.min()) <= int(part.max()) < size:
            raise DataError(
                f'{name}: expected 0 to {size - 1}, got {int(part.min())} to {int(part.max())}'
            )
    return parts[0], parts[1]


def check_labels(owner: object, labels: Tensor, columns: int, *, background: bool) -> None:
    """Refuse labels above the classes there are; negative ones are ignored rows.

    On the CPU only. Elsewhere it would need a host sync: there a softmax fails by the
    device's own check of indices, and a sigmoid loss takes such a label for background,
    so labels are to be checked where data enters, as the data sets of this package do.

    Args:
        owner: The loss, or the name of the function.
        labels: Whole numbers, any shape.
        columns: The number of classes.
        background: Whether ``columns`` itself is a label, of background.

    Raises:
        DataError: With the range and the label.
    """
    if not may_read(labels) or labels.numel() == 0:
        return
    largest, last = int(labels.max()), columns - (not background)
    if largest > last:
        what = f' ({columns} is background)' if background else ''
        raise DataError(
            f'{owner_name(owner)}: labels: expected at most {last}{what}, or negative ones for '
            f'rows that take no part, got {largest}; is num_classes right?'
        )


def column_tensor(
    values: Sequence[float] | Tensor | None,
    name: str = 'class_weight',
    highest: float = math.inf,
) -> Tensor | None:
    """``(C,)`` float32 of a per-class setting.

    Raises:
        ConfigError: If it is no flat list of finite numbers from 0 to ``highest``.
    """
    if values is None:
        return None
    limit = f' to {highest:g}' if highest < math.inf else ''
    wanted = f'{name}: expected a flat list of finite numbers from 0{limit}, one a class'
    try:
        tensor = torch.as_tensor(values, dtype=torch.float32).detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f'{wanted}, got {values!r}') from error
    if tensor.dim() != 1:
        raise ConfigError(f'{wanted}, got {tuple(tensor.shape)}')
    if may_read(tensor):
        # NumPy reads a few numbers in a fraction of the time; NaN is neither high nor low.
        numbers = tensor.numpy()
        good = (numbers >= 0) & (numbers <= highest) & (numbers < math.inf)
        if not good.all():
            raise ConfigError(f'{wanted}, got {numbers[~good][0]:g} of {tensor.tolist()}')
    return tensor


def check_columns(name: str, values: Tensor | None, columns: int) -> None:
    """Raise :class:`ShapeError` unless a per-class setting has one number a class."""
    if values is not None and values.shape[0] != columns:
        raise ShapeError(
            f'{name}: expected {columns} numbers, one a class of pred, got {values.shape[0]}'
        )
