"""The IoU family as registered losses; see :mod:`.iou` for the functions.

Shapes: K pairs; boxes are xyxy in pixels.
"""

from torch import Tensor

from ..registry import MODELS
from .base import BaseLoss
from .checks import check_choice, check_flags, check_numbers
from .iou import (
    BOX_FORMATS,
    IOU_MODES,
    NWD_MODES,
    YOLO_MODES,
    bounded_iou_loss,
    ciou_loss,
    diou_loss,
    efficient_iou_loss,
    eiou_loss,
    giou_loss,
    iou_loss,
    nwd_loss,
    siou_loss,
    yolo_iou_loss,
)


class _OverlapLoss(BaseLoss):
    kinds = ('box_decoded',)

    def __init__(
        self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        check_numbers(self, low=0, above=True, eps=eps)
        self.eps = eps


@MODELS.register_module()
class IoULoss(_OverlapLoss):
    """:func:`iou_loss` with weights and reduction.

    Name and arguments are MMDetection's; MMYOLO's loss of this name, with ``iou_mode``, is
    :class:`YOLOIoULoss`.

    Args:
        linear: The same as ``mode='linear'``.
        eps: The IoU counts as at least this much; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        mode: ``'linear'``, ``'square'`` or ``'log'``.
    """

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

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`iou_loss`."""
        return iou_loss(pred, target, mode=self.mode, eps=self.eps, reduction='none')


@MODELS.register_module()
class GIoULoss(_OverlapLoss):
    """:func:`giou_loss` with weights and reduction.

    Args:
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`giou_loss`."""
        return giou_loss(pred, target, eps=self.eps, reduction='none')


@MODELS.register_module()
class DIoULoss(_OverlapLoss):
    """:func:`diou_loss` with weights and reduction.

    Args:
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`diou_loss`."""
        return diou_loss(pred, target, eps=self.eps, reduction='none')


@MODELS.register_module()
class CIoULoss(_OverlapLoss):
    """:func:`ciou_loss` with weights and reduction.

    Args:
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`ciou_loss`."""
        return ciou_loss(pred, target, eps=self.eps, reduction='none')


@MODELS.register_module()
class EIoULoss(_OverlapLoss):
    """:func:`eiou_loss` (extended IoU) with weights and reduction.

    Args:
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        smooth_point: Where the parabola ends.
    """

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

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`eiou_loss`."""
        return eiou_loss(
            pred, target, smooth_point=self.smooth_point, eps=self.eps, reduction='none'
        )


@MODELS.register_module()
class EfficientIoULoss(_OverlapLoss):
    """:func:`efficient_iou_loss` with weights and reduction.

    Args:
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`efficient_iou_loss`."""
        return efficient_iou_loss(pred, target, eps=self.eps, reduction='none')


@MODELS.register_module()
class SIoULoss(_OverlapLoss):
    """:func:`siou_loss` with weights and reduction.

    Args:
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        neg_gamma: True for the sign of the paper.
    """

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

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`siou_loss`."""
        return siou_loss(pred, target, eps=self.eps, neg_gamma=self.neg_gamma, reduction='none')


@MODELS.register_module()
class NWDLoss(BaseLoss):
    """:func:`nwd_loss` with weights and reduction.

    Args:
        constant: Scale in pixels.
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
        """See :func:`nwd_loss`."""
        return nwd_loss(pred, target, constant=self.constant, mode=self.mode, reduction='none')


@MODELS.register_module()
class BoundedIoULoss(_OverlapLoss):
    """:func:`bounded_iou_loss` with weights and reduction.

    Args:
        beta: Where the parabola of the smooth L1 loss ends.
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

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

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`bounded_iou_loss`."""
        return bounded_iou_loss(pred, target, beta=self.beta, eps=self.eps, reduction='none')


@MODELS.register_module()
class YOLOIoULoss(_OverlapLoss):
    """:func:`yolo_iou_loss` with weights and reduction; MMYOLO calls it IoULoss.

    Deviations from MMYOLO: boxes are xyxy unless ``bbox_format`` says otherwise, and the
    loss alone comes back (``return_iou``, a second value, is left out).

    Args:
        iou_mode: ``'ciou'``, ``'giou'`` or ``'siou'``.
        bbox_format: ``'xyxy'``, what the heads of this package decode to, or ``'xywh'``.
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    def __init__(
        self,
        iou_mode: str = 'ciou',
        bbox_format: str = 'xyxy',
        eps: float = 1e-7,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        check_choice(self, 'iou_mode', iou_mode, YOLO_MODES)
        check_choice(self, 'bbox_format', bbox_format, BOX_FORMATS)
        self.iou_mode = iou_mode
        self.bbox_format = bbox_format

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`yolo_iou_loss`."""
        return yolo_iou_loss(
            pred,
            target,
            iou_mode=self.iou_mode,
            bbox_format=self.bbox_format,
            eps=self.eps,
            reduction='none',
        )
