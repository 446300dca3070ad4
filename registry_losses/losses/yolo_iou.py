"""The IoU losses in the forms that the YOLO family trains with.

Shapes: K pairs; boxes are xyxy in pixels.
"""

from torch import Tensor

from .. import ops
from ..registry import MODELS
from .checks import check_choice
from .overlap import OverlapLoss, check_boxes
from .reduction import reducible

YOLO_MODES = ('ciou', 'giou', 'siou')
BOX_FORMATS = ('xyxy', 'xywh')


@reducible
def yolo_iou_loss(
    pred: Tensor,
    target: Tensor,
    *,
    iou_mode: str = 'ciou',
    bbox_format: str = 'xywh',
    eps: float = 1e-7,
) -> Tensor:
    """``1 - IoU`` of any mode, in the forms the YOLO family trains with.

    CIoU without the threshold on alpha, SIoU with the paper's sign.

    Args:
        pred: ``(K, 4)``, see ``bbox_format``.
        target: ``(K, 4)``.
        iou_mode: ``'ciou'``, ``'giou'`` or ``'siou'``.
        bbox_format: ``'xywh'`` (centre and size) or ``'xyxy'``.
        eps: Keeps denominators from 0.
    """
    check_boxes('yolo_iou_loss', pred, eps=eps)
    check_choice('yolo_iou_loss', 'bbox_format', bbox_format, BOX_FORMATS)
    check_choice('yolo_iou_loss', 'iou_mode', iou_mode, YOLO_MODES)
    if bbox_format == 'xywh':
        pred, target = ops.cxcywh_to_xyxy(pred), ops.cxcywh_to_xyxy(target)
    if iou_mode == 'ciou':
        overlap = ops.ciou(pred, target, eps=eps, alpha_threshold=None)
    elif iou_mode == 'giou':
        overlap = ops.giou(pred, target, eps=eps)
    else:
        overlap = ops.siou(pred, target, eps=eps)
    return 1 - overlap.clamp(min=-1, max=1)


@MODELS.register_module()
class YOLOIoULoss(OverlapLoss):
    """:func:`yolo_iou_loss` with weights and reduction; MMYOLO calls it IoULoss.

    Deviations from MMYOLO: boxes are xyxy unless ``bbox_format`` says otherwise, and the
    loss alone comes back (``return_iou``, a second value, is left out).

    Plain formula: ``ciou``, ``giou`` or ``siou`` in ``testing/reference/losses/boxes.py``.

    Args:
        iou_mode: ``'ciou'``, ``'giou'`` or ``'siou'``.
        bbox_format: ``'xyxy'``, what the heads of this package decode to, or ``'xywh'``.
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    function = staticmethod(yolo_iou_loss)
    settings = ('iou_mode', 'bbox_format', 'eps')

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
