"""Losses of decoded boxes by their overlap: IoU, GIoU, DIoU, CIoU, SIoU.

A loss is a function, and a class that names it. Values and gradients are finite for boxes of no
area, inverted, equal or far apart; the measures stand in :mod:`registry_losses.ops.iou`. More of
the family: :mod:`.eiou`, :mod:`.nwd`, :mod:`.bounded_iou`, :mod:`.yolo_iou`.

Shapes: K pairs; boxes are xyxy in pixels.
"""

from torch import Tensor

from .. import ops
from ..registry import MODELS
from .checks import check_choice, check_flags
from .overlap import OverlapLoss, check_boxes
from .reduction import reducible

IOU_MODES = ('linear', 'square', 'log')


@reducible
def iou_loss(pred: Tensor, target: Tensor, *, mode: str = 'log', eps: float = 1e-6) -> Tensor:
    """``1 - IoU`` (linear), ``1 - IoU^2`` (square) or ``-ln IoU`` (log).

    Source: J. Yu et al., UnitBox (2016), the IoU loss (log).

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        mode: ``'linear'``, ``'square'`` or ``'log'``.
        eps: The IoU counts as at least this much; pairs that do not meet have a loss but
            no gradient.
    """
    check_boxes('iou_loss', pred, eps=eps)
    check_choice('iou_loss', 'mode', mode, IOU_MODES)
    overlap = ops.iou(pred, target).clamp(min=eps)
    if mode == 'log':
        return -overlap.log()
    return 1 - (overlap if mode == 'linear' else overlap.square())


@reducible
def giou_loss(pred: Tensor, target: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``1 - GIoU``; H. Rezatofighi et al., Generalized IoU (2019), algorithm 1."""
    check_boxes('giou_loss', pred, eps=eps)
    return 1 - ops.giou(pred, target, eps=eps)


@reducible
def diou_loss(pred: Tensor, target: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``1 - DIoU``; Z. Zheng et al., Distance-IoU Loss (2020), the DIoU loss."""
    check_boxes('diou_loss', pred, eps=eps)
    return 1 - ops.diou(pred, target, eps=eps)


@reducible
def ciou_loss(pred: Tensor, target: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``1 - CIoU``, at most 2; Z. Zheng et al., Distance-IoU Loss (2020), the CIoU loss.

    A perfect prediction costs 0.
    """
    check_boxes('ciou_loss', pred, eps=eps)
    return 1 - ops.ciou(pred, target, eps=eps).clamp(min=-1, max=1)


@reducible
def siou_loss(
    pred: Tensor, target: Tensor, *, eps: float = 1e-6, neg_gamma: bool = False
) -> Tensor:
    """``1 - SIoU``, in [0, 2]; Z. Gevorgyan, SIoU Loss (2022).

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        eps: Keeps denominators from 0.
        neg_gamma: The sign of the distance cost's exponent. True is the paper's; False,
            the default of OpenMMLab, rewards distance.
    """
    check_boxes('siou_loss', pred, eps=eps)
    return 1 - ops.siou(pred, target, eps=eps, neg_gamma=neg_gamma).clamp(min=-1, max=1)


@MODELS.register_module()
class IoULoss(OverlapLoss):
    """:func:`iou_loss` with weights and reduction.

    Name and arguments are MMDetection's; MMYOLO's loss of this name, with ``iou_mode``, is
    :class:`~registry_losses.losses.YOLOIoULoss`.

    Plain formula: ``iou`` in ``testing/reference/losses/boxes.py``.

    Args:
        linear: The same as ``mode='linear'``.
        eps: The IoU counts as at least this much; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        mode: ``'linear'``, ``'square'`` or ``'log'``.
    """

    function = staticmethod(iou_loss)
    settings = ('eps', 'mode')

    def __init__(
        self,
        linear: bool = False,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        mode: str = 'log',
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        check_flags(self, linear=linear)
        check_choice(self, 'mode', mode, IOU_MODES)
        self.mode = 'linear' if linear else mode


@MODELS.register_module()
class GIoULoss(OverlapLoss):
    """:func:`giou_loss`; settings as in :class:`.OverlapLoss`.

    Plain formula: ``giou`` in ``testing/reference/losses/boxes.py``.
    """

    function = staticmethod(giou_loss)


@MODELS.register_module()
class DIoULoss(OverlapLoss):
    """:func:`diou_loss`; settings as in :class:`.OverlapLoss`.

    Plain formula: ``diou`` in ``testing/reference/losses/boxes.py``.
    """

    function = staticmethod(diou_loss)


@MODELS.register_module()
class CIoULoss(OverlapLoss):
    """:func:`ciou_loss`; settings as in :class:`.OverlapLoss`.

    Plain formula: ``ciou`` in ``testing/reference/losses/boxes.py``.
    """

    function = staticmethod(ciou_loss)


@MODELS.register_module()
class SIoULoss(OverlapLoss):
    """:func:`siou_loss`; settings as in :class:`.OverlapLoss`, and ``neg_gamma``.

    Plain formula: ``siou`` in ``testing/reference/losses/boxes.py``.
    """

    function = staticmethod(siou_loss)
    settings = ('eps', 'neg_gamma')

    def __init__(
        self,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        neg_gamma: bool = False,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        check_flags(self, neg_gamma=neg_gamma)
        self.neg_gamma = neg_gamma
