"""OverlapLoss: the settings that the losses of decoded boxes share.

A loss of the family is a function of boxes, and a class that names it: see :mod:`.iou`.

Shapes: K pairs; boxes are xyxy in pixels.
"""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from ..errors import ShapeError
from .base import BaseLoss
from .checks import check_numbers


def check_boxes(owner: str, pred: Tensor, **above_zero: float) -> None:
    """Refuse what is no box, and settings that are not above 0.

    Args:
        owner: The name of the function, for messages.
        pred: ``(K, 4)``.
        **above_zero: Name of a setting to its value.

    Raises:
        ConfigError: With the setting.
        ShapeError: With the shape that came.
    """
    if pred.dim() == 0 or pred.shape[-1] != 4:
        raise ShapeError(f'{owner}: pred: expected boxes (K, 4), got {tuple(pred.shape)}')
    check_numbers(owner, low=0, above=True, **above_zero)  # type: ignore[arg-type]


class OverlapLoss(BaseLoss):
    """A loss of decoded boxes ``(K, 4)``, xyxy, by their overlap: ``(K,)``.

    Attributes:
        function: The loss of each pair, a function of ``pred, target``.
        settings: The attributes that the function takes by these names.

    Args:
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    kinds = ('box_decoded',)
    function: ClassVar[Callable[..., Tensor]]
    settings: ClassVar[tuple[str, ...]] = ('eps',)

    def __init__(
        self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        check_numbers(self, low=0, above=True, eps=eps)
        self.eps = eps

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The function, with the settings of this loss."""
        settings = {name: getattr(self, name) for name in self.settings}
        return self.function(pred, target, **settings, reduction='none')
