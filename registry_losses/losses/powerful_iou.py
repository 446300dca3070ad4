"""Powerful-IoU (PIoU and PIoU v2): a penalty by the target's size, and attention on fair boxes.

Shapes: K pairs; boxes are xyxy in pixels.
"""

import torch
from torch import Tensor

from .. import ops
from ..registry import MODELS
from .checks import check_choice, check_numbers
from .overlap import OverlapLoss, check_boxes
from .reduction import reducible

PIOU_VERSIONS = ('v1', 'v2')


@reducible
def powerful_iou_loss(
    pred: Tensor,
    target: Tensor,
    *,
    version: str = 'v2',
    focus: float = 1.3,
    eps: float = 1e-6,
) -> Tensor:
    """``1 - IoU + 1 - exp(-P^2)``; in version 2 times ``3 a exp(-a^2)`` with ``a = focus exp(-P)``.

    P is the mean distance of the four edges over the target's sides: unlike a penalty by the
    enclosing box it is not made smaller by a larger prediction. C. Liu et al., Powerful-IoU
    (2024), PIoU v2.

    Deviation: the factor of version 2 takes no gradient. It falls as boxes move away, so that
    with a gradient those of low quality would be pushed further apart.

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        version: ``'v1'`` or ``'v2'``, which attends to boxes of medium quality.
        focus: lambda of version 2, above 0.
        eps: Keeps denominators from 0.
    """
    check_boxes('powerful_iou_loss', pred, focus=focus, eps=eps)
    check_choice('powerful_iou_loss', 'version', version, PIOU_VERSIONS)
    sides = (target[..., 2:] - target[..., :2]).clamp(min=eps)
    gap = ((pred - target).abs() / torch.cat((sides, sides), dim=-1)).mean(dim=-1)
    # Beyond this both exponentials are 0; the square of a larger one may overflow.
    gap = gap.clamp(max=1e3)
    loss = 1 - ops.iou(pred, target, eps=eps) - torch.expm1(-gap.square())
    if version == 'v1':
        return loss
    attention = focus * torch.exp(-gap.detach())
    return 3 * attention * torch.exp(-attention.square()) * loss


@MODELS.register_module()
class PowerfulIoULoss(OverlapLoss):
    """:func:`powerful_iou_loss` (PIoU); settings as in :class:`.OverlapLoss`, and more.

    Plain formula: ``powerful_iou`` in ``testing/reference/losses/boxes.py``.

    Args:
        version: ``'v1'`` or ``'v2'``.
        focus: lambda of version 2, above 0.
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    function = staticmethod(powerful_iou_loss)
    settings = ('version', 'focus', 'eps')

    def __init__(
        self,
        version: str = 'v2',
        focus: float = 1.3,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        check_choice(self, 'version', version, PIOU_VERSIONS)
        check_numbers(self, low=0, above=True, focus=focus)
        self.version = version
        self.focus = focus
