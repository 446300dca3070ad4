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
from .base import Target, is_labels
from .checks import check_flags, check_numbers
from .focal import choose_activation
from .fused.negatives import ElementNegative, Negative, PowerNegative, softplus
from .reduction import in_float, reduce_loss
from .sigmoid import ALL, Column, SigmoidLoss
from .softmax import exclusive_target, row_weights


def cross_entropy(
    pred: Tensor,
    label: Tensor | ClassTargets,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | None = None,
    ignore_index: int | None = None,
    avg_non_ignore: bool = False,
    *,
    use_sigmoid: bool = False,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy; see :class:`CrossEntropyLoss`. The order is OpenMMLab's.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 2), torch.tensor([1])).exp().item()
        2.0
    """
    loss = CrossEntropyLoss(
        use_sigmoid,
        reduction=reduction,
        class_weight=class_weight,
        ignore_index=ignore_index,
        avg_non_ignore=avg_non_ignore,
        label_smoothing=label_smoothing,
    ).placed(pred)
    return loss(pred, label, weight, avg_factor)


@MODELS.register_module()
class CrossEntropyLoss(SigmoidLoss):
    """Cross entropy, by softmax or sigmoid.

    * Softmax, ``(R,)``: ``-w_y log p_y``, background last.
    * Sigmoid, ``(R, C)``: ``-w_c v log p - (1 - v) log(1 - p)`` of every logit.

    Label smoothing: the target becomes ``(1 - s) v + s / K`` (softmax over K columns) or
    ``(1 - s) v + s / 2`` (sigmoid), C. Szegedy et al., Rethinking the Inception
    Architecture (2016), section 7.

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
        check_numbers(self, low=0, high=1, below=True, label_smoothing=label_smoothing)
        if isinstance(ignore_index, bool) or not isinstance(ignore_index, (int, type(None))):
            raise ConfigError(
                f'CrossEntropyLoss: ignore_index: expected a label or None, got {ignore_index!r}'
            )
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
        if ignore_index is None or ignore_index == self.ignore_index:
            return super().forward(cls_score, label, weight, avg_factor, reduction_override)
        own, self.ignore_index = self.ignore_index, ignore_index
        try:
            return super().forward(cls_score, label, weight, avg_factor, reduction_override)
        finally:
            self.ignore_index = own

    def negative(self) -> Negative:
        """``softplus(x)``, less ``s x / 2`` with label smoothing."""
        half = self.label_smoothing / 2
        if half == 0:
            return PowerNegative(0.0)
        return ElementNegative(lambda x: half * softplus(-x) + (1 - half) * softplus(x))

    def mirror(self, column: Tensor) -> float | Tensor | None:
        """The class's weight, without label smoothing."""
        if self.label_smoothing:
            return None
        return 1.0 if self.class_weight is None else self.class_weight[column]

    def at(self, x: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """See the class."""
        if self.label_smoothing:
            value = value * (1 - self.label_smoothing) + self.label_smoothing / 2
        hit = value * softplus(-x)
        if self.class_weight is not None:
            hit = hit * self.class_weight.to(x.dtype)[column]
        return hit + (1 - value) * softplus(x)

    def column_weight(self) -> Tensor | None:
        """None: :meth:`at` weighs the positive term itself."""
        return None

    def negative_weight(self) -> float | Tensor:
        """1."""
        return 1.0

    def read_target(self, pred: Tensor, target: Target) -> Tensor | ClassTargets:
        """As in :class:`SigmoidLoss`; ``ignore_index`` becomes an ignored row."""
        if not isinstance(target, Tensor) or self.ignore_index is None:
            return super().read_target(pred, target)
        if is_labels(pred, target):
            target = target.long().masked_fill(target == self.ignore_index, -1)
        return super().read_target(pred, target)

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """See :meth:`BaseLoss.compute`."""
        self.check_columns(pred)
        if not self.use_sigmoid:
            return self._softmax(pred, target, weight, reduction, avg_factor)
        count_kept = self.avg_non_ignore and avg_factor is None and reduction == 'mean'
        target = self.read_target(pred, target)
        if isinstance(target, ClassTargets):
            if count_kept:
                avg_factor = (~target.ignored).sum() * pred.shape[1]
            return super().compute(pred, target, weight, reduction, avg_factor)
        kept = target >= 0
        if self.ignore_index is not None:
            kept = kept & (target != self.ignore_index)
        if count_kept:
            avg_factor = kept.sum()
        loss = self.at(in_float(pred), target, kept, ALL)
        loss = torch.where(kept, loss, 0)
        return self.loss_weight * reduce_loss(loss, reduction, weight, avg_factor)

    def _softmax(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        rows = exclusive_target(pred, target, self.ignore_index, owner=self)
        cost = -F.log_softmax(in_float(pred), dim=1)
        if self.class_weight is not None:
            cost = cost * self.class_weight.to(cost.dtype)
        loss = rows.expect(cost)
        if self.label_smoothing:
            even = cost.mean(dim=1).masked_fill(~rows.kept, 0)
            loss = (1 - self.label_smoothing) * loss + self.label_smoothing * even
        if self.avg_non_ignore and avg_factor is None and reduction == 'mean':
            avg_factor = rows.kept.sum()
        weight = row_weights(weight, loss.shape[0])
        return self.loss_weight * reduce_loss(loss, reduction, weight, avg_factor)
