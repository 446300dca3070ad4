"""MPDIoU: the IoU less the distances of two corners.

Shapes: K pairs; boxes are xyxy in pixels.
"""

from collections.abc import Sequence

from torch import Tensor

from .. import ops
from ..errors import ConfigError
from ..registry import MODELS
from .checks import check_numbers, owner_name
from .overlap import OverlapLoss, check_boxes
from .reduction import reducible


@reducible
def mpdiou_loss(
    pred: Tensor,
    target: Tensor,
    *,
    image_size: Sequence[float] = (640, 640),
    eps: float = 1e-6,
) -> Tensor:
    """``1 - IoU + d1^2 / (w^2 + h^2) + d2^2 / (w^2 + h^2)``.

    d1 and d2 are the distances of the upper left and of the lower right corners, w and h the
    sides of the image. S. Ma and Y. Xu, MPDIoU (2023).

    Args:
        pred: ``(K, 4)`` xyxy.
        target: ``(K, 4)`` xyxy.
        image_size: Width and height of the input in pixels.
        eps: Keeps denominators from 0.
    """
    check_boxes('mpdiou_loss', pred, eps=eps)
    _check_size('mpdiou_loss', image_size)
    squared = (pred - target).square().sum(dim=-1)  # of both corners
    diagonal = float(image_size[0]) ** 2 + float(image_size[1]) ** 2
    return 1 - ops.iou(pred, target, eps=eps) + squared / diagonal


def _check_size(owner: object, image_size: object) -> None:
    if not isinstance(image_size, Sequence) or isinstance(image_size, str) or len(image_size) != 2:
        raise ConfigError(
            f'{owner_name(owner)}: image_size: expected (width, height) in pixels, got '
            f'{image_size!r}'
        )
    for side in image_size:
        check_numbers(owner, low=0, above=True, image_size=side)


@MODELS.register_module()
class MPDIoULoss(OverlapLoss):
    """:func:`mpdiou_loss`; settings as in :class:`.OverlapLoss`, and ``image_size``.

    Plain formula: ``mpdiou`` in ``testing/reference/losses/boxes.py``.

    Args:
        image_size: Width and height of the input in pixels; boxes come without it.
        eps: Keeps denominators from 0; above 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    function = staticmethod(mpdiou_loss)
    settings = ('image_size', 'eps')

    def __init__(
        self,
        image_size: Sequence[float] = (640, 640),
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        _check_size(self, image_size)
        self.image_size = tuple(image_size)
