"""The sums of squares of YOLOv1 and YOLOv3, whole systems in one loss.

The heads state the same losses term by term; these are for whoever has predictions and
targets of all priors at hand.

Shapes: R priors of the batch, C classes; boxes are (x, y, w, h).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ..errors import ShapeError
from ..registry import MODELS
from ..structures.loss_term import Kind
from .checks import (
    check_columns,
    check_floating,
    check_numbers,
    check_reduction,
    check_same_shape,
    column_tensor,
)
from .reduction import divisor, in_float, like_pred


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
    class_weight: Sequence[float] | Tensor | None = None,
) -> dict[str, Tensor]:
    """The sum of squared errors of YOLOv1, in four parts.

    ``lambda_coord sum_obj [(x - x')^2 + (y - y')^2]
    + lambda_coord sum_obj [(sqrt w - sqrt w')^2 + (sqrt h - sqrt h')^2]
    + sum_obj (C - C')^2 + lambda_noobj sum_noobj (C - C')^2
    + sum_cells_with_object sum_c (p(c) - p'(c))^2``

    Source: J. Redmon et al., You Only Look Once (2016), equation 3.

    Args:
        pred: ``(R, 5 + C)``: x, y, w, h, confidence, class probabilities.
        target: Its shape; the confidence target of a responsible prior is usually the IoU
            of its prediction, that of all others 0.
        responsible: ``(R,)`` bool, the priors that are responsible for an object.
        lambda_coord: Weight of the coordinates, at least 0.
        lambda_noobj: Weight of the confidence where there is no object, at least 0.
        cell_has_object: ``(R,)`` weights of the class part, where priors share a cell's
            class vector: 1 on one prior of each cell with an object, else 0. By default
            every responsible prior counts.
        eps: Sizes below it count as it, above 0: the root's slope at 0 is infinite.
        class_weight: C numbers of at least 0 that multiply the class part.

    Returns:
        ``loss_xy``, ``loss_wh``, ``loss_conf``, ``loss_cls``, each a 0-d sum.
    """
    obj = _check(pred, target, responsible, cell_has_object=cell_has_object)
    _check_lambdas('yolov1_loss', eps, lambda_coord=lambda_coord, lambda_noobj=lambda_noobj)
    pred, target = in_float(pred), like_pred(target, pred)
    squared = (pred - target).square()
    roots = (pred[:, 2:4].clamp(min=eps).sqrt() - target[:, 2:4].clamp(min=eps).sqrt()).square()
    cells = obj if cell_has_object is None else cell_has_object.to(pred.dtype)
    return {
        'loss_xy': lambda_coord * (obj * squared[:, :2].sum(1)).sum(),
        'loss_wh': lambda_coord * (obj * roots.sum(1)).sum(),
        'loss_conf': ((obj + lambda_noobj * (1 - obj)) * squared[:, 4]).sum(),
        'loss_cls': (cells * _weigh(squared[:, 5:], class_weight).sum(1)).sum(),
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
    class_weight: Sequence[float] | Tensor | None = None,
) -> dict[str, Tensor]:
    """The sums of YOLOv3: squared box and confidence errors, cross entropy of classes.

    * box: ``lambda_coord sum_obj (2 - w h) [(x - x')^2 + (y - y')^2 + (w - w')^2 + (h - h')^2]``
    * confidence: ``lambda_noobj sum_noobj (c - c')^2 + lambda_obj sum_obj (c - c')^2``
    * class: ``-lambda_class sum_obj sum_c p(c) log p'(c)``

    w and h in the factor are the target's. Priors that are neither responsible nor
    ignored are negatives.

    Source: J. Redmon and A. Farhadi, YOLOv3 (2018), section 2; the factor is the official
    code's. Deviation: squares for the confidence, as in YOLOv1, and no loss for classes that
    are absent, where the paper takes binary cross entropy.

    Args:
        pred: ``(R, 5 + C)``: x, y, w, h in shares of the image, confidence, class
            probabilities.
        target: Its shape.
        responsible: ``(R,)`` bool, the priors that are responsible for an object.
        ignored: ``(R,)`` bool, the priors left out of the confidence.
        lambda_coord: Weight of the boxes.
        lambda_obj: Weight of the confidence of objects.
        lambda_noobj: Weight of the confidence elsewhere.
        lambda_class: Weight of the classes.
        eps: Probabilities below it count as it, above 0.
        class_weight: C numbers of at least 0 that multiply the class part.

    Returns:
        ``loss_bbox``, ``loss_conf``, ``loss_cls``, each a 0-d sum.
    """
    obj = _check(pred, target, responsible, ignored=ignored)
    _check_lambdas(
        'yolov3_loss',
        eps,
        lambda_coord=lambda_coord,
        lambda_obj=lambda_obj,
        lambda_noobj=lambda_noobj,
        lambda_class=lambda_class,
    )
    pred, target = in_float(pred), like_pred(target, pred)
    noobj = 1 - obj
    if ignored is not None:
        noobj = noobj * (~ignored.bool()).to(pred.dtype)
    squared = (pred - target).square()
    scale = small_box_weight(target[:, 2:4])
    of_class = _weigh(target[:, 5:] * pred[:, 5:].clamp(min=eps).log(), class_weight)
    return {
        'loss_bbox': lambda_coord * (obj * scale * squared[:, :4].sum(1)).sum(),
        'loss_conf': ((lambda_noobj * noobj + lambda_obj * obj) * squared[:, 4]).sum(),
        'loss_cls': -lambda_class * (obj * of_class.sum(1)).sum(),
    }


def _check(
    pred: Tensor, target: Tensor, responsible: Tensor, **row_vectors: Tensor | None
) -> Tensor:
    """``responsible`` as numbers, once the shapes fit."""
    check_floating('pred', pred)
    check_same_shape(pred, target)
    if pred.dim() != 2 or pred.shape[1] < 5:
        raise ShapeError(f'pred: expected (R, 5 + C), got {tuple(pred.shape)}')
    for name, vector in {'responsible': responsible, **row_vectors}.items():
        if vector is None and name != 'responsible':
            continue
        if not isinstance(vector, Tensor) or vector.shape != pred.shape[:1]:
            got = tuple(vector.shape) if isinstance(vector, Tensor) else type(vector).__name__
            raise ShapeError(f'{name}: expected {tuple(pred.shape[:1])}, got {got}')
    return like_pred(responsible > 0, pred)


def _check_lambdas(owner: object, eps: float, **lambdas: float) -> None:
    check_numbers(owner, low=0, **lambdas)  # type: ignore[arg-type]
    check_numbers(owner, low=0, above=True, eps=eps)


def _weigh(loss: Tensor, class_weight: Sequence[float] | Tensor | None) -> Tensor:
    """``(R, C)`` losses times the weights of their classes."""
    weight = column_tensor(class_weight)
    check_columns('class_weight', weight, loss.shape[1])
    return loss if weight is None else loss * weight.to(loss)


class _SumOfSquares(nn.Module):
    """What the two whole-system losses share: ``loss_weight`` over a number of images."""

    kinds: tuple[Kind, ...] = ()  # of a whole system, of no single term of a head

    def __init__(
        self, loss_weight: float, class_weight: Sequence[float] | None, **lambdas: float
    ) -> None:
        super().__init__()
        check_numbers(self, low=0, loss_weight=loss_weight, **lambdas)  # type: ignore[arg-type]
        self.loss_weight = loss_weight
        for name, value in lambdas.items():
            setattr(self, name, value)
        self.register_buffer('class_weight', column_tensor(class_weight), persistent=False)
        self.class_weight: Tensor | None

    def _scale(
        self, losses: dict[str, Tensor], avg_factor: Tensor | float | None
    ) -> dict[str, Tensor]:
        check_reduction('mean', avg_factor)
        if avg_factor is None:
            return {name: self.loss_weight * loss for name, loss in losses.items()}
        return {
            name: self.loss_weight * loss / divisor(avg_factor, loss.dtype)
            for name, loss in losses.items()
        }


@MODELS.register_module()
class YOLOV1Loss(_SumOfSquares):
    """:func:`yolov1_loss` as a module.

    Plain formula: ``yolov1`` in ``testing/reference/losses/systems.py``.

    Args:
        lambda_coord: Weight of the coordinates.
        lambda_noobj: Weight of the confidence where there is no object.
        loss_weight: All parts are multiplied by it.
        class_weight: C numbers of at least 0 that multiply the class part.
    """

    lambda_coord: float
    lambda_noobj: float

    def __init__(
        self,
        lambda_coord: float = 5.0,
        lambda_noobj: float = 0.5,
        loss_weight: float = 1.0,
        *,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            loss_weight, class_weight, lambda_coord=lambda_coord, lambda_noobj=lambda_noobj
        )

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
            class_weight=self.class_weight,
        )
        return self._scale(losses, avg_factor)


@MODELS.register_module()
class YOLOV3Loss(_SumOfSquares):
    """:func:`yolov3_loss` as a module.

    Plain formula: ``yolov3`` in ``testing/reference/losses/systems.py``.

    Args:
        lambda_coord: Weight of the boxes.
        lambda_obj: Weight of the confidence of objects.
        lambda_noobj: Weight of the confidence elsewhere.
        lambda_class: Weight of the classes.
        loss_weight: All parts are multiplied by it.
        class_weight: C numbers of at least 0 that multiply the class part.
    """

    lambda_coord: float
    lambda_obj: float
    lambda_noobj: float
    lambda_class: float

    def __init__(
        self,
        lambda_coord: float = 1.0,
        lambda_obj: float = 1.0,
        lambda_noobj: float = 1.0,
        lambda_class: float = 1.0,
        loss_weight: float = 1.0,
        *,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            loss_weight,
            class_weight,
            lambda_coord=lambda_coord,
            lambda_obj=lambda_obj,
            lambda_noobj=lambda_noobj,
            lambda_class=lambda_class,
        )

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
            class_weight=self.class_weight,
        )
        return self._scale(losses, avg_factor)
