"""Cross entropy: softmax, sigmoid, with label smoothing.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, UnsupportedModeError
from ..registry import MODELS
from ..structures import ClassTargets
from .checks import (
    check_call,
    check_columns,
    check_flags,
    check_numbers,
    column_tensor,
    owner_name,
)
from .fused.negatives import ElementNegative, PowerNegative, softplus
from .reduction import in_float, reduce_loss
from .sigmoid import SigmoidLoss, SigmoidRule, class_setting, of_columns, sigmoid_loss
from .softmax import choose_activation, exclusive_target, row_weights
from .targets import Target, is_labels, read_classes


def sigmoid_cross_entropy_elements(
    x: Tensor, value: Tensor, pos_weight: float | Tensor = 1.0, label_smoothing: float = 0.0
) -> Tensor:
    """``-w v log p - (1 - v) log(1 - p)`` of single logits, ``p = sigmoid(x)``.

    Args:
        x: Logits, any shape.
        value: Their targets in [0, 1].
        pos_weight: w, of the positive term alone.
        label_smoothing: s; the target becomes ``(1 - s) v + s / 2``.
    """
    if label_smoothing:
        value = value * (1 - label_smoothing) + label_smoothing / 2
    return pos_weight * value * softplus(-x) + (1 - value) * softplus(x)


def cross_entropy(
    pred: Tensor,
    label: Target,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | Tensor | None = None,
    ignore_index: int | None = None,
    avg_non_ignore: bool = False,
    *,
    use_sigmoid: bool = False,
    label_smoothing: float = 0.0,
    loss_weight: float = 1.0,
    compile: bool = False,
) -> Tensor:
    """Cross entropy by a softmax, ``-w_y log p_y`` of each row, or a sigmoid, of each logit.

    The order of the arguments is OpenMMLab's; they are explained at :class:`CrossEntropyLoss`.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 2), torch.tensor([1])).exp().item()
        2.0
    """
    check_call(pred, weight, reduction, avg_factor)
    _check_settings('cross_entropy', label_smoothing, ignore_index)
    form = _sigmoid_form if use_sigmoid else _softmax_form
    with torch.autocast(pred.device.type, enabled=False):
        return form(
            pred,
            label,
            weight,
            reduction,
            avg_factor,
            class_weight,
            ignore_index,
            avg_non_ignore and avg_factor is None and reduction == 'mean',
            label_smoothing,
            loss_weight,
            compile,
        )


def _softmax_form(
    pred: Tensor,
    label: Target,
    weight: Tensor | None,
    reduction: str,
    avg_factor: Tensor | float | None,
    class_weight: Sequence[float] | Tensor | None,
    ignore_index: int | None,
    count_kept: bool,
    label_smoothing: float,
    loss_weight: float,
    compile: bool,
) -> Tensor:
    classes = column_tensor(class_weight)
    check_columns('class_weight', classes, pred.shape[-1] if pred.dim() > 1 else 1)
    rows = exclusive_target(pred, label, ignore_index, owner='CrossEntropyLoss')
    cost = -F.log_softmax(in_float(pred), dim=1)  # (R, K)
    if classes is not None:
        cost = cost * classes.to(cost)
    loss = rows.expect(cost)
    if label_smoothing:
        even = cost.mean(dim=1).masked_fill(~rows.kept, 0)
        loss = (1 - label_smoothing) * loss + label_smoothing * even
    if count_kept:
        avg_factor = rows.kept.sum()
    return loss_weight * reduce_loss(
        loss, reduction, row_weights(weight, loss.shape[0]), avg_factor
    )


def _sigmoid_form(
    pred: Tensor,
    label: Target,
    weight: Tensor | None,
    reduction: str,
    avg_factor: Tensor | float | None,
    class_weight: Sequence[float] | Tensor | None,
    ignore_index: int | None,
    count_kept: bool,
    label_smoothing: float,
    loss_weight: float,
    compile: bool,
) -> Tensor:
    classes = class_setting('class_weight', class_weight, pred)
    pos_weight: float | Tensor = 1.0 if classes is None else classes
    half = label_smoothing / 2
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: sigmoid_cross_entropy_elements(
            x, value, of_columns(pos_weight, column), label_smoothing
        ),
        on_negatives=PowerNegative(0.0)  # softplus(x)
        if half == 0
        else ElementNegative(lambda x: half * softplus(-x) + (1 - half) * softplus(x)),
        positive_weight=pos_weight if half == 0 else None,
    )
    if ignore_index is not None and isinstance(label, Tensor) and is_labels(pred, label):
        label = label.long().masked_fill(label == ignore_index, -1)
    target = read_classes('CrossEntropyLoss', pred, label)
    if isinstance(target, ClassTargets):
        if count_kept:
            avg_factor = (~target.ignored).sum() * pred.shape[1]
        return sigmoid_loss(
            pred,
            target,
            weight,
            rule,
            owner='CrossEntropyLoss',
            reduction=reduction,
            avg_factor=avg_factor,
            loss_weight=loss_weight,
            compile=compile,
        )
    kept = target >= 0
    if ignore_index is not None:
        kept = kept & (target != ignore_index)
    loss = rule.on_targets(in_float(pred), target, kept, slice(None))
    loss = torch.where(kept, loss, 0)
    if count_kept:
        avg_factor = kept.sum()
    return loss_weight * reduce_loss(loss, reduction, weight, avg_factor)


def _check_settings(owner: object, label_smoothing: float, ignore_index: object) -> None:
    check_numbers(owner, low=0, high=1, below=True, label_smoothing=label_smoothing)
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, (int, type(None))):
        raise ConfigError(
            f'{owner_name(owner)}: ignore_index: expected a label or None, got {ignore_index!r}'
        )


@MODELS.register_module()
class CrossEntropyLoss(SigmoidLoss):
    """Cross entropy, by softmax or sigmoid; see :func:`cross_entropy`.

    * Softmax, ``(R,)``: ``-w_y log p_y``, background last.
    * Sigmoid, ``(R, C)``: ``-w_c v log p - (1 - v) log(1 - p)`` of every logit.

    Label smoothing: the target becomes ``(1 - s) v + s / K`` (softmax over K columns) or
    ``(1 - s) v + s / 2`` (sigmoid), C. Szegedy et al., Rethinking the Inception
    Architecture (2016), label smoothing.

    Plain formula: ``cross_entropy`` and ``binary_cross_entropy`` in
    ``testing/reference/losses/classes.py``.

    Args:
        use_sigmoid: Independent classes (binary cross entropy) in place of a softmax.
        use_mask: In OpenMMLab, the loss of instance masks; not part of this package.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: A number of at least 0 a class, with background for a softmax; with a
            sigmoid it weighs the positive term alone, as OpenMMLab's and torch's
            ``pos_weight`` do. A mean is over the rows, not over their weights.
        ignore_index: A label that takes no part, beside the negative ones.
        loss_weight: The loss is multiplied by it.
        avg_non_ignore: Whether a mean counts only what takes part.
        label_smoothing: s in [0, 1).
        activation: ``'sigmoid'`` or ``'softmax'``, in place of ``use_sigmoid``.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: str = 'mean',
        class_weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        avg_non_ignore: bool = False,
        *,
        label_smoothing: float = 0.0,
        activation: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight, compile)
        if use_mask:
            raise UnsupportedModeError(
                'CrossEntropyLoss: use_mask: expected False, got True, the loss of instance masks, '
                'which no head of this package predicts; leave it out'
            )
        check_flags(self, use_mask=use_mask, avg_non_ignore=avg_non_ignore)
        _check_settings(self, label_smoothing, ignore_index)
        choose_activation(self, use_sigmoid, activation)
        if self.use_sigmoid:
            # YOLOv3's xy: logits against encoded values in (0, 1).
            self.kinds = (*self.kinds, 'box_encoded')
        self.ignore_index = ignore_index
        self.avg_non_ignore = avg_non_ignore
        self.label_smoothing = label_smoothing

    def forward(
        self,
        cls_score: Tensor,
        label: Target,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            cls_score: ``(R, C)`` logits, ``(R, C + 1)`` for a softmax.
            label: Int labels ``(R,)``, :class:`ClassTargets`, or dense values: ``(R, C)``, or
                what each column has of a row, ``(R, C + 1)``, for a softmax.
            weight: ``(R,)``, or ``(R, C)`` with a sigmoid.
            avg_factor: What a mean divides by.
            reduction_override: In place of ``reduction``.
            ignore_index: In place of the loss's own, for this call.
        """
        return cross_entropy(
            cls_score,
            label,
            weight,
            self.check_call(cls_score, weight, avg_factor, reduction_override),
            avg_factor,
            self.class_weight,
            self.ignore_index if ignore_index is None else ignore_index,
            self.avg_non_ignore,
            use_sigmoid=self.use_sigmoid,
            label_smoothing=self.label_smoothing,
            loss_weight=self.loss_weight,
            compile=self.compiled,
        )
