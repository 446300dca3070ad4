"""BaseLoss: what every loss of the package has in common."""

import inspect

import torch
from torch import Tensor, nn

from ..errors import ShapeError, UnsupportedModeError
from ..structures import ClassTargets
from ..structures.loss_term import Kind
from .checks import check_call, check_flags, check_numbers, check_reduction, check_same_shape
from .declared import Activation, TargetFormat
from .reduction import in_float, like_pred, reduce_loss
from .targets import Target, read_classes, row_weight


def call_order(
    reduction_override: object, avg_factor: object
) -> tuple[str | None, Tensor | float | None]:
    """Both arguments, told apart by their type.

    A few of OpenMMLab's losses take them in the other order; a caller of either
    convention is understood.
    """
    swapped = isinstance(reduction_override, (int, float, Tensor))
    if isinstance(avg_factor, str) or (swapped and not isinstance(reduction_override, bool)):
        reduction_override, avg_factor = avg_factor, reduction_override
    return reduction_override, avg_factor  # type: ignore[return-value]


def require_sigmoid(loss: nn.Module, use_sigmoid: bool) -> None:
    """Refuse a softmax of a loss that has none."""
    check_flags(loss, use_sigmoid=use_sigmoid)
    if not use_sigmoid:
        raise UnsupportedModeError(
            f'{type(loss).__name__}: use_sigmoid: expected True, the only form there is, got '
            'False; for a softmax take FocalLoss or CrossEntropyLoss'
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

    A subclass implements :meth:`elements`; one whose function weighs and reduces by itself
    implements :meth:`compute`. Half precision is widened to float32 for :meth:`elements`,
    and autocast is off inside.

    Attributes:
        kinds: What the loss can serve, the primary one first; a head checks its terms
            against it.
        target_format: The view of class targets the loss wants: ``'sparse'`` takes
            :class:`ClassTargets` as they are.
        activation: What turns its ``pred`` into probabilities.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it, at least 0.
    """

    kinds: tuple[Kind, ...] = ()
    target_format: TargetFormat = 'dense'
    activation: Activation = 'identity'

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        self.reduction = check_reduction(reduction)
        check_numbers(self, low=0, loss_weight=loss_weight)
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
            weight: One weight an element, or a row; see :func:`.reduction.expand_weight`.
            avg_factor: What a mean divides by, in place of the number of elements; a
                number of at least 0 or a tensor of one, which no host sync reads: on a GPU
                one below 0 counts as 0.
            reduction_override: In place of ``reduction``.

        Returns:
            At least float32, float64 for ``pred`` in float64, whatever the other dtypes.

        Raises:
            ConfigError: If there is no such reduction, or an ``avg_factor`` beside a sum.
            DataError: If a label is above the classes there are (on the CPU alone; see
                :func:`.checks.check_labels`).
            ShapeError: If shapes or dtypes do not fit.
        """
        return self.call(pred, target, weight, avg_factor, reduction_override)

    def call(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        avg_factor: Tensor | float | None,
        reduction_override: str | None,
        **more: object,
    ) -> Tensor:
        """:meth:`forward`, with what the :meth:`compute` of a class takes besides."""
        reduction = self.check_call(pred, weight, avg_factor, reduction_override)
        if weight is not None:
            weight = like_pred(weight, pred)
        with torch.autocast(pred.device.type, enabled=False):
            return self.compute(pred, target, weight, reduction, avg_factor, **more)

    def check_call(
        self,
        pred: Tensor,
        weight: Tensor | None,
        avg_factor: Tensor | float | None,
        reduction_override: str | None,
    ) -> str:
        """The reduction of this call, once what every loss asks of a call holds."""
        reduction = self.reduction if reduction_override is None else reduction_override
        check_call(pred, weight, reduction, avg_factor)
        return reduction

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """Elements, weights, reduction, ``loss_weight``; autocast is off."""
        if 'classification' in self.kinds:
            target = read_classes(self, pred, target)
        if isinstance(target, ClassTargets):
            weight = row_weight(weight, target)
            target = target.dense()
        target = check_same_shape(pred, target)
        loss = self.elements(in_float(pred), like_pred(target, pred))
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
