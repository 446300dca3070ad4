"""The loss of boxes taken as Gaussians, by their Wasserstein distance.

Shapes: K pairs; boxes are xyxy in pixels.
"""

import torch
from torch import Tensor

from .. import ops
from ..registry import MODELS
from .base import BaseLoss
from .checks import check_choice, check_numbers
from .overlap import check_boxes
from .reduction import reducible

NWD_MODES = ('linear', 'log')


@reducible
def nwd_loss(
    pred: Tensor, target: Tensor, *, constant: float = 12.8, mode: str = 'linear'
) -> Tensor:
    """``1 - NWD`` (linear) or ``-ln NWD`` (log), by the Wasserstein distance of Gaussians.

    J. Wang et al., A Normalized Gaussian Wasserstein Distance (2021), the NWD loss.

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        constant: Scale in pixels, about the size of the objects.
        mode: ``'linear'`` as in the paper, whose slope dies out with distance, or
            ``'log'``, the distance itself over ``constant``.
    """
    check_boxes('nwd_loss', pred, constant=constant)
    check_choice('nwd_loss', 'mode', mode, NWD_MODES)
    similarity = ops.nwd(pred, target, constant=constant)
    if mode == 'linear':
        return 1 - similarity
    return -similarity.clamp(min=torch.finfo(similarity.dtype).tiny).log()


@MODELS.register_module()
class NWDLoss(BaseLoss):
    """:func:`nwd_loss` with weights and reduction.

    Plain formula: ``nwd`` in ``testing/reference/losses/boxes.py``.

    Args:
        constant: Scale in pixels, above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        mode: ``'linear'`` or ``'log'``.
    """

    kinds = ('box_decoded',)

    def __init__(
        self,
        constant: float = 12.8,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        *,
        mode: str = 'linear',
    ) -> None:
        super().__init__(reduction, loss_weight)
        check_numbers(self, low=0, above=True, constant=constant)
        check_choice(self, 'mode', mode, NWD_MODES)
        self.constant = constant
        self.mode = mode

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """:func:`nwd_loss`."""
        return nwd_loss(pred, target, constant=self.constant, mode=self.mode, reduction='none')
