"""Wise-IoU: a focus on boxes of ordinary quality, by the running mean of the loss.

Shapes: K pairs; boxes are xyxy in pixels.
"""

import torch
from torch import Tensor

from .. import ops
from ..registry import MODELS
from .checks import check_choice, check_numbers
from .overlap import OverlapLoss, check_boxes
from .reduction import reducible

WISE_VERSIONS = ('v1', 'v2', 'v3')


@reducible
def wise_iou_loss(
    pred: Tensor,
    target: Tensor,
    *,
    version: str = 'v3',
    mean: float | Tensor = 1.0,
    gamma: float = 0.5,
    alpha: float = 1.9,
    delta: float = 3.0,
    eps: float = 1e-6,
) -> Tensor:
    """``r exp(d^2 / c^2) (1 - IoU)``; d the centres' distance, c the enclosing diagonal.

    c takes no gradient, nor does the focus r of a box, by ``b = (1 - IoU) / mean``, how far
    it lies from the mean of all:

    * v1: ``r = 1``;
    * v2: ``r = b^gamma``, monotonic: the worst boxes count most;
    * v3: ``r = b / (delta alpha^(b - delta))``: neither the best nor the worst.

    Z. Tong et al., Wise-IoU (2023), WIoU v1 to v3.

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        version: ``'v1'``, ``'v2'`` or ``'v3'``.
        mean: The mean of ``1 - IoU`` so far, a number or 0-d.
        gamma: Of v2, at least 0.
        alpha: Of v3, above 1.
        delta: Of v3, above 0: b at which r is 1.
        eps: Keeps denominators from 0.
    """
    check_boxes('wise_iou_loss', pred, delta=delta, eps=eps)
    _check('wise_iou_loss', version, gamma, alpha)
    pair = ops.BoxPair(pred, target)
    loss = 1 - ops.iou(pred, target, eps=eps)
    dx, dy = pair.center_offset
    width, height = (side.detach() for side in pair.enclosing_size)
    squared = dx * dx + dy * dy
    # Of boxes that are not inverted the quotient is below 1.
    diagonal = torch.maximum(width * width + height * height, squared.detach()) + eps
    loss_v1 = torch.exp(squared / diagonal) * loss
    outlier = loss.detach() / (torch.as_tensor(mean).to(loss).clamp(min=eps))
    if version == 'v2':
        return outlier.pow(gamma) * loss_v1
    if version == 'v3':
        return outlier / (delta * torch.pow(alpha, outlier - delta)) * loss_v1
    return loss_v1


def _check(owner: object, version: str, gamma: float, alpha: float) -> None:
    check_choice(owner, 'version', version, WISE_VERSIONS)
    check_numbers(owner, low=0, gamma=gamma)
    check_numbers(owner, low=1, above=True, alpha=alpha)


@MODELS.register_module()
class WiseIoULoss(OverlapLoss):
    """:func:`wise_iou_loss`, and the running mean of ``1 - IoU`` that it reads.

    The mean starts at 1, is a buffer, ``iou_mean``, and moves by each training batch before
    that batch is judged by it.

    Plain formula: ``wise_iou`` in ``testing/reference/losses/boxes.py``.

    Args:
        version: ``'v1'``, ``'v2'`` or ``'v3'``.
        gamma: Of v2, at least 0.
        alpha: Of v3, above 1.
        delta: Of v3, above 0.
        momentum: How much of the mean a batch replaces, in [0, 1].
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    function = staticmethod(wise_iou_loss)
    settings = ('version', 'gamma', 'alpha', 'delta', 'eps')

    def __init__(
        self,
        version: str = 'v3',
        gamma: float = 0.5,
        alpha: float = 1.9,
        delta: float = 3.0,
        momentum: float = 0.01,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        _check(self, version, gamma, alpha)
        check_numbers(self, low=0, above=True, delta=delta)
        check_numbers(self, low=0, high=1, momentum=momentum)
        self.version = version
        self.gamma = gamma
        self.alpha = alpha
        self.delta = delta
        self.momentum = momentum
        self.register_buffer('iou_mean', torch.ones(()))
        self.iou_mean: Tensor

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """:func:`wise_iou_loss` by the mean, which moves before in training."""
        if self.training and self.version != 'v1' and pred.shape[0]:
            with torch.no_grad():
                batch = (1 - ops.iou(pred, target, eps=self.eps)).mean()
                self.iou_mean.lerp_(batch.to(self.iou_mean), self.momentum)
        settings = {name: getattr(self, name) for name in self.settings}
        return wise_iou_loss(pred, target, mean=self.iou_mean, **settings, reduction='none')
