"""Both losses of the abbreviation EIoU: of the extended and of the efficient IoU.

Shapes: K pairs; boxes are xyxy in pixels.
"""

import torch
from torch import Tensor

from .. import ops
from ..registry import MODELS
from .checks import check_numbers
from .overlap import OverlapLoss, check_boxes
from .reduction import reducible


@reducible
def eiou_loss(
    pred: Tensor, target: Tensor, *, smooth_point: float = 0.1, eps: float = 1e-6
) -> Tensor:
    """Smoothed ``1 - EIoU`` with the *extended* IoU, which has a slope for boxes apart.

    With ``l = 1 - EIoU``: ``l^2 / (2 smooth_point)`` below ``smooth_point``, else
    ``l - smooth_point / 2``. H. Peng and S. Yu, A Systematic IoU-Related Method (2021).
    The other loss of this abbreviation is :func:`efficient_iou_loss`.
    """
    check_boxes('eiou_loss', pred, eps=eps, smooth_point=smooth_point)
    loss = 1 - ops.extended_iou(pred, target, eps=eps)
    return torch.where(
        loss < smooth_point, 0.5 * loss.square() / smooth_point, loss - 0.5 * smooth_point
    )


@reducible
def efficient_iou_loss(pred: Tensor, target: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``1 - EIoU`` with the *efficient* IoU.

    Y.-F. Zhang et al., Focal and Efficient IOU Loss (2022), the EIoU loss.
    """
    check_boxes('efficient_iou_loss', pred, eps=eps)
    return 1 - ops.efficient_iou(pred, target, eps=eps)


@reducible
def focal_eiou_loss(
    pred: Tensor, target: Tensor, *, gamma: float = 0.5, eps: float = 1e-6
) -> Tensor:
    """``IoU^gamma (1 - EIoU)`` with the *efficient* IoU: boxes of low overlap count less.

    Y.-F. Zhang et al., Focal and Efficient IOU Loss (2022), the focal EIoU loss. The factor
    weighs: it takes no gradient, which for small IoUs would push boxes apart.

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        gamma: How fast boxes of low overlap lose weight, at least 0.
        eps: Keeps denominators from 0.
    """
    check_boxes('focal_eiou_loss', pred, eps=eps)
    check_numbers('focal_eiou_loss', low=0, gamma=gamma)
    focus = ops.iou(pred, target, eps=eps).detach().pow(gamma)
    return focus * (1 - ops.efficient_iou(pred, target, eps=eps))


@MODELS.register_module()
class EIoULoss(OverlapLoss):
    """:func:`eiou_loss` (extended IoU); settings as in :class:`.OverlapLoss`, and more.

    Plain formula: ``extended_iou`` in ``testing/reference/losses/boxes.py``.

    Args:
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        smooth_point: Where the parabola ends; above 0.
    """

    function = staticmethod(eiou_loss)
    settings = ('eps', 'smooth_point')

    def __init__(
        self,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        smooth_point: float = 0.1,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        check_numbers(self, low=0, above=True, smooth_point=smooth_point)
        self.smooth_point = smooth_point


@MODELS.register_module()
class EfficientIoULoss(OverlapLoss):
    """:func:`efficient_iou_loss`; settings as in :class:`.OverlapLoss`.

    Plain formula: ``efficient_iou`` in ``testing/reference/losses/boxes.py``.
    """

    function = staticmethod(efficient_iou_loss)


@MODELS.register_module()
class FocalEIoULoss(OverlapLoss):
    """:func:`focal_eiou_loss`; settings as in :class:`.OverlapLoss`, and ``gamma``.

    Plain formula: ``focal_eiou`` in ``testing/reference/losses/boxes.py``.

    Args:
        gamma: How fast boxes of low overlap lose weight, at least 0.
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    function = staticmethod(focal_eiou_loss)
    settings = ('gamma', 'eps')

    def __init__(
        self,
        gamma: float = 0.5,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        check_numbers(self, low=0, gamma=gamma)
        self.gamma = gamma
