"""BaseLoss: what every loss of the package has in common."""

import inspect
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import ConfigError, ShapeError
from ..structures import ClassTargets
from ..structures.loss_term import Kind
from .reduction import check_reduction, check_same_shape, in_float, reduce_loss

TargetFormat = Literal['sparse', 'labels', 'label_score', 'dense']
Activation = Literal['sigmoid', 'softmax', 'identity']
# What a loss may be compared with: values, labels and scores, or sparse class targets.
Target = Tensor | tuple[Tensor, Tensor] | ClassTargets


def check_floating(name: str, tensor: Tensor) -> None:
    """Raise :class:`ShapeError` unless ``tensor`` holds floating point numbers."""
    if not tensor.is_floating_point():
        raise ShapeError(f'{name}: expected a floating point tensor, got {tensor.dtype}')


def call_order(
    reduction_override: object, avg_factor: object
) -> tuple[str | None, Tensor | float | None]:
    """Both arguments, told apart by their type.

    A few of OpenMMLab's losses take them in the other order; a caller of either
    convention is understood.
    """
    if isinstance(avg_factor, str) or not (
        reduction_override is None or isinstance(reduction_override, str)
    ):
        reduction_override, avg_factor = avg_factor, reduction_override
    return reduction_override, avg_factor  # type: ignore[return-value]


def require_sigmoid(loss: nn.Module, use_sigmoid: bool) -> None:
    """Refuse a softmax of a loss that has none."""
    if not use_sigmoid:
        raise ConfigError(
            f'{type(loss).__name__}: only use_sigmoid=True is defined; for a softmax take '
            'FocalLoss or CrossEntropyLoss'
        )


def need_tensor(loss: nn.Module, target: Target) -> Tensor:
    """``target``, if it is a tensor.

    Raises:
        ShapeError: Else.
    """
    if not isinstance(target, Tensor):
        raise ShapeError(
            f'target: {type(loss).__name__} expected a tensor, got {type(target).__name__}'
        )
    return target


class BaseLoss(nn.Module):
    """A loss with OpenMMLab's call: ``loss(pred, target, weight, avg_factor, ...)``.

    A subclass implements :meth:`elements`; one whose reduction is its own (a fused pass,
    a loss without elements) implements :meth:`compute`. Half precision is widened to
    float32 before either is called, and autocast is off inside.

    Attributes:
        kinds: What the loss can serve, the primary one first; a head checks its terms
            against it.
        target_format: The view of class targets the loss wants: ``'sparse'`` takes
            :class:`ClassTargets` as they are.
        activation: What turns its ``pred`` into probabilities.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    kinds: tuple[Kind, ...] = ()
    target_format: TargetFormat = 'dense'
    activation: Activation = 'identity'

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        self.reduction = check_reduction(reduction)
        self.loss_weight = loss_weight

    @property
    def kind(self) -> Kind:
        """The primary kind."""
        return self.kinds[0]

    @property
    def use_sigmoid(self) -> bool:
        """Whether ``pred`` are logits of independent classes."""
        return self.activation == 'sigmoid'

    @property
    def needs_background(self) -> bool:
        """Whether ``pred`` has one more class, the last, for background."""
        return self.activation == 'softmax'

    def forward(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            pred: Predictions; the class says their shape.
            target: Targets.
            weight: One weight an element, or a row.
            avg_factor: What a mean divides by, in place of the number of elements; a
                number or a 0-d tensor, which is never read by the host.
            reduction_override: In place of ``reduction``.
        """
        reduction = check_reduction(reduction_override or self.reduction, avg_factor)
        check_floating('pred', pred)
        with torch.autocast(pred.device.type, enabled=False):
            return self.compute(pred, target, weight, reduction, avg_factor)

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """Elements, weights, reduction, ``loss_weight``; autocast is off."""
        if isinstance(target, ClassTargets):
            weight = row_weight(weight, target)
            target = target.dense()
        target = need_tensor(self, target)
        check_same_shape(pred, target)
        loss = self.elements(in_float(pred), in_float(target))
        if weight is not None:
            weight = in_float(weight)
        return self.loss_weight * reduce_loss(loss, reduction, weight, avg_factor)

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each element (or row), in at least float32."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """The settings it was built with, for ``print`` and logs."""
        names = inspect.signature(type(self).__init__).parameters
        values = {name: getattr(self, name, None) for name in names if name != 'self'}
        plain = (bool, int, float, str, tuple)
        return ', '.join(f'{k}={v!r}' for k, v in values.items() if isinstance(v, plain))


def row_weight(weight: Tensor | None, target: ClassTargets) -> Tensor:
    """``(R, 1)`` or ``(R, C)`` weights that are 0 in the ignored rows of ``target``."""
    kept = ~target.ignored[:, None]
    if weight is None:
        return kept.float()
    r, c = target.num_rows, target.num_classes
    if weight.shape not in ((r,), (r, 1), (r, c)):
        raise ShapeError(
            f'weight: expected ({r},), ({r}, 1) or ({r}, {c}), got {tuple(weight.shape)}'
        )
    if weight.dim() == 1:
        weight = weight[:, None]
    return torch.where(kept, weight, 0)
