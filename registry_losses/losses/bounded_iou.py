"""The bounded IoU loss: a bound of the IoU for each coordinate.

Shapes: K pairs; boxes are xyxy in pixels.
"""

import torch
from torch import Tensor

from ..registry import MODELS
from .checks import check_numbers
from .overlap import OverlapLoss, check_boxes
from .reduction import reducible


@reducible
def bounded_iou_loss(
    pred: Tensor, target: Tensor, *, beta: float = 0.2, eps: float = 1e-3
) -> Tensor:
    """Smoothed upper bounds of the IoU, one a coordinate: ``(K, 4)`` of x, y, w, h.

    ``1 - max((w - 2 |dx|) / (w + 2 |dx|), 0)`` of the centre and ``1 - min(w / w', w' / w)``
    of the size, under a smooth L1 loss.

    Source: L. Tychsen-Smith and L. Petersson, Improving Object Localization with Fitness
    NMS and Bounded IoU Loss (2018), the bounded IoU loss.

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy; takes no gradient.
        beta: Where the parabola of the smooth L1 loss ends.
        eps: Keeps denominators from 0.
    """
    check_boxes('bounded_iou_loss', pred, beta=beta, eps=eps)
    target = target.detach()
    sizes = (pred[..., 2:] - pred[..., :2]).clamp(min=0)
    target_sizes = (target[..., 2:] - target[..., :2]).clamp(min=0)
    gap = ((target[..., 2:] + target[..., :2]) - (pred[..., 2:] + pred[..., :2])).abs()  # 2 |dx|
    center = 1 - ((target_sizes - gap) / (target_sizes + gap + eps)).clamp(min=0)
    size = 1 - torch.min(target_sizes / (sizes + eps), sizes / (target_sizes + eps))
    loss = torch.cat((center, size), dim=-1)
    return torch.where(loss < beta, 0.5 * loss.square() / beta, loss - 0.5 * beta)


@MODELS.register_module()
class BoundedIoULoss(OverlapLoss):
    """:func:`bounded_iou_loss` with weights and reduction: ``(K, 4)``.

    Plain formula: ``bounded_iou`` in ``testing/reference/losses/boxes.py``.

    Args:
        beta: Where the parabola of the smooth L1 loss ends; above 0.
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    function = staticmethod(bounded_iou_loss)
    settings = ('beta', 'eps')

    def __init__(
        self,
        beta: float = 0.2,
        eps: float = 1e-3,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        check_numbers(self, low=0, above=True, beta=beta)
        self.beta = beta
