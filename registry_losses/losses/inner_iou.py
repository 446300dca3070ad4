"""Inner-IoU: the overlap of boxes that are shrunk, or grown, around their centres.

Shapes: K pairs; boxes are xyxy in pixels.
"""

import torch
from torch import Tensor

from .. import ops
from ..registry import MODELS
from .checks import check_choice, check_numbers
from .overlap import OverlapLoss, check_boxes
from .reduction import reducible

INNER_MODES = ('iou', 'giou', 'diou', 'ciou', 'efficient_iou', 'siou')


@reducible
def inner_iou_loss(
    pred: Tensor, target: Tensor, *, ratio: float = 0.7, mode: str = 'ciou', eps: float = 1e-6
) -> Tensor:
    """The loss of ``mode``, its IoU replaced by that of inner boxes: ``L + IoU - IoU_inner``.

    The inner boxes have the centres of the boxes and ``ratio`` times their sides. H. Zhang
    et al., Inner-IoU (2023).

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        ratio: Above 0; below 1 for pairs of high IoU, above 1 for small objects.
        mode: ``'iou'``, ``'giou'``, ``'diou'``, ``'ciou'``, ``'efficient_iou'`` or ``'siou'``.
        eps: Keeps denominators from 0.
    """
    check_boxes('inner_iou_loss', pred, ratio=ratio, eps=eps)
    check_choice('inner_iou_loss', 'mode', mode, INNER_MODES)
    inner = ops.iou(_scaled(pred, ratio), _scaled(target, ratio), eps=eps)
    if mode == 'iou':
        return 1 - inner
    measure = ops.bbox_overlaps(pred, target, mode, is_aligned=True, eps=eps)  # type: ignore[arg-type]
    return 1 - measure + ops.iou(pred, target, eps=eps) - inner


def _scaled(boxes: Tensor, ratio: float) -> Tensor:
    """Boxes with their sides times ``ratio`` around their centres."""
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]) * (ratio / 2)
    return torch.cat((centre - half, centre + half), dim=-1)


@MODELS.register_module()
class InnerIoULoss(OverlapLoss):
    """:func:`inner_iou_loss`; settings as in :class:`.OverlapLoss`, and more.

    Plain formula: ``inner_iou`` in ``testing/reference/losses/boxes.py``.

    Args:
        ratio: What the sides of the inner boxes are multiplied by, above 0.
        mode: ``'iou'``, ``'giou'``, ``'diou'``, ``'ciou'``, ``'efficient_iou'`` or ``'siou'``.
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    function = staticmethod(inner_iou_loss)
    settings = ('ratio', 'mode', 'eps')

    def __init__(
        self,
        ratio: float = 0.7,
        mode: str = 'ciou',
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        check_numbers(self, low=0, above=True, ratio=ratio)
        check_choice(self, 'mode', mode, INNER_MODES)
        self.ratio = ratio
        self.mode = mode
