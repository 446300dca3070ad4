"""The sums of squares of YOLOv1 and YOLOv3, whole systems in one loss.

The heads state the same losses term by term; these are for whoever has predictions and
targets of all slots at hand.

Shapes: R slots of the batch, C classes; boxes are (x, y, w, h).
"""

from torch import Tensor, nn

from ..errors import ConfigError, ShapeError
from ..registry import MODELS
from .reduction import check_same_shape, in_float


def small_box_weight(size: Tensor) -> Tensor:
    """``2 - w h``: small boxes count up to twice, the box of the whole image once.

    Args:
        size: ``(..., 2)`` width and height in shares of the image.
    """
    return 2 - size.prod(dim=-1)


def yolov1_loss(
    pred: Tensor,
    target: Tensor,
    responsible: Tensor,
    *,
    lambda_coord: float = 5.0,
    lambda_noobj: float = 0.5,
    cell_has_object: Tensor | None = None,
    eps: float = 1e-6,
) -> dict[str, Tensor]:
    """The sum of squared errors of YOLOv1, in four parts.

    ``lambda_coord sum_obj [(x - x')^2 + (y - y')^2]
    + lambda_coord sum_obj [(sqrt w - sqrt w')^2 + (sqrt h - sqrt h')^2]
    + sum_obj (C - C')^2 + lambda_noobj sum_noobj (C - C')^2
    + sum_cells_with_object sum_c (p(c) - p'(c))^2``

    Source: J. Redmon et al., You Only Look Once (2016), equation 3.

    Args:
        pred: ``(R, 5 + C)``: x, y, w, h, confidence, class probabilities.
        target: Its shape; the confidence target of a responsible slot is usually the IoU
            of its prediction, that of all others 0.
        responsible: ``(R,)`` bool, the slots that answer for an object.
        lambda_coord: Weight of the coordinates.
        lambda_noobj: Weight of the confidence where there is no object.
        cell_has_object: ``(R,)`` weights of the class part, where slots share a cell's
            class vector: 1 on one slot of each cell with an object, else 0. By default
            every responsible slot counts.
        eps: Sizes below it count as it: the root's slope at 0 is infinite.

    Returns:
        ``loss_xy``, ``loss_wh``, ``loss_conf``, ``loss_cls``, each a 0-d sum.
    """
    obj = _check(pred, target, responsible, cell_has_object=cell_has_object)
    pred, target = in_float(pred), in_float(target)
    squared = (pred - target).square()
    roots = (pred[:, 2:4].clamp(min=eps).sqrt() - target[:, 2:4].clamp(min=eps).sqrt()).square()
    cells = obj if cell_has_object is None else cell_has_object.to(pred.dtype)
    return {
        'loss_xy': lambda_coord * (obj * squared[:, :2].sum(1)).sum(),
        'loss_wh': lambda_coord * (obj * roots.sum(1)).sum(),
        'loss_conf': ((obj + lambda_noobj * (1 - obj)) * squared[:, 4]).sum(),
        'loss_cls': (cells * squared[:, 5:].sum(1)).sum(),
    }


def yolov3_loss(
    pred: Tensor,
    target: Tensor,
    responsible: Tensor,
    *,
    ignored: Tensor | None = None,
    lambda_coord: float = 1.0,
    lambda_obj: float = 1.0,
    lambda_noobj: float = 1.0,
    lambda_class: float = 1.0,
    eps: float = 1e-7,
) -> dict[str, Tensor]:
    """The sums of YOLOv3: squared box and confidence errors, cross entropy of classes.

    * box: ``lambda_coord sum_obj (2 - w h) [(x - x')^2 + (y - y')^2 + (w - w')^2 + (h - h')^2]``
    * confidence: ``lambda_noobj sum_noobj (c - c')^2 + lambda_obj sum_obj (c - c')^2``
    * class: ``-lambda_class sum_obj sum_c p(c) log p'(c)``

    w and h in the factor are the target's. Slots that are neither responsible nor
    ignored are negatives.

    Source: J. Redmon and A. Farhadi, YOLOv3 (2018), section 2; the factor is the official
    code's. Deviation: squares for the confidence, as in YOLOv1, and no loss for classes that
    are absent, where the paper takes binary cross entropy.

    Args:
        pred: ``(R, 5 + C)``: x, y, w, h in shares of the image, confidence, class
            probabilities.
        target: Its shape.
        responsible: ``(R,)`` bool, the slots that answer for an object.
        ignored: ``(R,)`` bool, the slots left out of the confidence.
        lambda_coord: Weight of the boxes.
        lambda_obj: Weight of the confidence of objects.
        lambda_noobj: Weight of the confidence elsewhere.
        lambda_class: Weight of the classes.
        eps: Probabilities below it count as it.

    Returns:
        ``loss_bbox``, ``loss_conf``, ``loss_cls``, each a 0-d sum.
    """
    obj = _check(pred, target, responsible, ignored=ignored)
    pred, target = in_float(pred), in_float(target)
    noobj = 1 - obj
    if ignored is not None:
        noobj = noobj * (~ignored.bool()).to(pred.dtype)
    squared = (pred - target).square()
    scale = small_box_weight(target[:, 2:4])
    log_p = pred[:, 5:].clamp(min=eps).log()
    return {
        'loss_bbox': lambda_coord * (obj * scale * squared[:, :4].sum(1)).sum(),
        'loss_conf': ((lambda_noobj * noobj + lambda_obj * obj) * squared[:, 4]).sum(),
        'loss_cls': -lambda_class * (obj * (target[:, 5:] * log_p).sum(1)).sum(),
    }


def _check(pred: Tensor, target: Tensor, responsible: Tensor, **slots: Tensor | None) -> Tensor:
    """``responsible`` as numbers, once the shapes fit."""
    check_same_shape(pred, target)
    if pred.dim() != 2 or pred.shape[1] < 5 or responsible.shape != pred.shape[:1]:
        raise ShapeError(
            'pred and responsible: expected (R, 5 + C) and (R,), got '
            f'{tuple(pred.shape)} and {tuple(responsible.shape)}'
        )
    for name, slot in slots.items():
        if slot is not None and slot.shape != pred.shape[:1]:
            raise ShapeError(f'{name}: expected {tuple(pred.shape[:1])}, got {tuple(slot.shape)}')
    return (responsible > 0).to(in_float(pred[:0]).dtype)


class _SumOfSquares(nn.Module):
    """What the two whole-system losses share: ``loss_weight`` over a number of images."""

    def __init__(self, loss_weight: float) -> None:
        super().__init__()
        if loss_weight < 0:
            raise ConfigError(f'loss_weight must be at least 0, got {loss_weight}')
        self.loss_weight = loss_weight

    def _scale(
        self, losses: dict[str, Tensor], avg_factor: Tensor | float | None
    ) -> dict[str, Tensor]:
        divisor = 1.0 if avg_factor is None else avg_factor
        return {name: self.loss_weight * loss / divisor for name, loss in losses.items()}


@MODELS.register_module()
class YOLOV1Loss(_SumOfSquares):
    """:func:`yolov1_loss` as a module.

    Args:
        lambda_coord: Weight of the coordinates.
        lambda_noobj: Weight of the confidence where there is no object.
        loss_weight: All parts are multiplied by it.
    """

    def __init__(
        self, lambda_coord: float = 5.0, lambda_noobj: float = 0.5, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        self.lambda_coord = lambda_coord
        self.lambda_noobj = lambda_noobj

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        responsible: Tensor,
        avg_factor: Tensor | float | None = None,
        *,
        cell_has_object: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """See :func:`yolov1_loss`; the sums are divided by ``avg_factor`` (the images)."""
        losses = yolov1_loss(
            pred,
            target,
            responsible,
            lambda_coord=self.lambda_coord,
            lambda_noobj=self.lambda_noobj,
            cell_has_object=cell_has_object,
        )
        return self._scale(losses, avg_factor)


@MODELS.register_module()
class YOLOV3Loss(_SumOfSquares):
    """:func:`yolov3_loss` as a module.

    Args:
        lambda_coord: Weight of the boxes.
        lambda_obj: Weight of the confidence of objects.
        lambda_noobj: Weight of the confidence elsewhere.
        lambda_class: Weight of the classes.
        loss_weight: All parts are multiplied by it.
    """

    def __init__(
        self,
        lambda_coord: float = 1.0,
        lambda_obj: float = 1.0,
        lambda_noobj: float = 1.0,
        lambda_class: float = 1.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.lambda_coord = lambda_coord
        self.lambda_obj = lambda_obj
        self.lambda_noobj = lambda_noobj
        self.lambda_class = lambda_class

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        responsible: Tensor,
        avg_factor: Tensor | float | None = None,
        *,
        ignored: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """See :func:`yolov3_loss`; the sums are divided by ``avg_factor`` (the images)."""
        losses = yolov3_loss(
            pred,
            target,
            responsible,
            ignored=ignored,
            lambda_coord=self.lambda_coord,
            lambda_obj=self.lambda_obj,
            lambda_noobj=self.lambda_noobj,
            lambda_class=self.lambda_class,
        )
        return self._scale(losses, avg_factor)
