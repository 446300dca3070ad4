"""Shape-IoU: distances weighed by the shape of the target.

Shapes: K pairs; boxes are xyxy in pixels.
"""

import torch
from torch import Tensor

from .. import ops
from ..ops.box_pair import at_least
from ..registry import MODELS
from .checks import check_numbers
from .overlap import OverlapLoss, check_boxes
from .reduction import reducible


@reducible
def shape_iou_loss(
    pred: Tensor, target: Tensor, *, scale: float = 0.0, theta: float = 4.0, eps: float = 1e-6
) -> Tensor:
    """``1 - IoU + distance + shape / 2``, both weighed by the sides w, h of the target.

    With ``ww = 2 w^scale / (w^scale + h^scale)`` and ``hh = 2 h^scale / (w^scale + h^scale)``:

    * distance ``= hh dx^2 / c^2 + ww dy^2 / c^2``, c the diagonal of the enclosing box;
    * shape ``= (1 - exp(-hh |w - w'| / max(w, w')))^theta
      + (1 - exp(-ww |h - h'| / max(h, h')))^theta``.

    H. Zhang and S. Zhang, Shape-IoU (2023).

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        scale: How much the target's shape counts, at least 0; larger for smaller objects.
        theta: How much the difference of the shapes counts, above 0.
        eps: Keeps denominators from 0.
    """
    check_boxes('shape_iou_loss', pred, theta=theta, eps=eps)
    check_numbers('shape_iou_loss', low=0, scale=scale)
    pair = ops.BoxPair(pred, target)
    w1, h1, w2, h2 = pair.sizes
    # The shares of w^scale and h^scale in their sum: of powers that may overflow, a sigmoid.
    ratio = scale * (w2.clamp(min=eps).log() - h2.clamp(min=eps).log())
    ww, hh = 2 * torch.sigmoid(ratio), 2 * torch.sigmoid(-ratio)
    dx, dy = pair.center_offset
    width, height = pair.enclosing_size
    squared = dx * dx + dy * dy
    diagonal = at_least(width * width + height * height, squared) + eps
    distance = (hh * dx * dx + ww * dy * dy) / diagonal
    omega_w = hh * (w1 - w2).abs() / torch.max(w1, w2).clamp(min=eps)
    omega_h = ww * (h1 - h2).abs() / torch.max(h1, h2).clamp(min=eps)
    shape = _power(-torch.expm1(-omega_w), theta) + _power(-torch.expm1(-omega_h), theta)
    return 1 - pair.iou(eps) + distance + shape / 2


def _power(term: Tensor, theta: float) -> Tensor:
    """``term^theta``, its gradient finite at 0."""
    tiny = torch.finfo(term.dtype).tiny
    return torch.where(term > tiny, term.clamp(min=tiny).pow(theta), 0)


@MODELS.register_module()
class ShapeIoULoss(OverlapLoss):
    """:func:`shape_iou_loss`; settings as in :class:`.OverlapLoss`, and more.

    Plain formula: ``shape_iou`` in ``testing/reference/losses/boxes.py``.

    Args:
        scale: How much the target's shape counts, at least 0.
        theta: How much the difference of the shapes counts, above 0.
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    function = staticmethod(shape_iou_loss)
    settings = ('scale', 'theta', 'eps')

    def __init__(
        self,
        scale: float = 0.0,
        theta: float = 4.0,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        check_numbers(self, low=0, scale=scale)
        check_numbers(self, low=0, above=True, theta=theta)
        self.scale = scale
        self.theta = theta
