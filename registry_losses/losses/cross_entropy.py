"""Cross entropy: softmax and sigmoid.

Shapes: R rows, C classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError
from ..registry import MODELS
from ..structures import ClassTargets
from .base import check_floating
from .reduction import check_reduction, in_float, reduce_loss
from .sigmoid import SigmoidLoss, binary_cross_entropy


@MODELS.register_module()
class CrossEntropyLoss(SigmoidLoss):
    """Cross entropy.

    Args:
        use_sigmoid: Independent classes (binary cross entropy) in place of a softmax.
        use_mask: Not supported.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: C numbers.
        ignore_index: Label that takes no part.
        loss_weight: The loss is multiplied by it.
        avg_non_ignore: Whether a mean counts the labels that take part alone.
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
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight)
        self.activation = 'sigmoid' if use_sigmoid else 'softmax'
        self.kinds = (
            ('classification', 'objectness', 'centerness', 'heatmap', 'box_encoded')
            if use_sigmoid
            else ('classification', 'objectness')
        )
        self.ignore_index = ignore_index
        self.avg_non_ignore = avg_non_ignore

    def at(self, x: Tensor, value: Tensor, positive: Tensor) -> Tensor:
        """See :func:`binary_cross_entropy`."""
        return binary_cross_entropy(x, value)

    def compute(
        self,
        pred: Tensor,
        target: Tensor | ClassTargets,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """See :meth:`BaseLoss.compute`."""
        if self.use_sigmoid:
            return super().compute(pred, target, weight, reduction, avg_factor)
        x = in_float(pred)
        score: Tensor | None = None
        if isinstance(target, ClassTargets):
            labels, score, kept = target.label_score()
            weight = kept if weight is None else kept * weight.reshape(-1)
        else:
            labels = target
        if x.dim() != 2 or labels.shape != x.shape[:1]:
            raise ShapeError(
                f'target: expected labels ({x.shape[0]},), got {tuple(labels.shape)}'
            )
        log_p = F.log_softmax(x, dim=-1)
        ignore = labels < 0
        if self.ignore_index is not None:
            ignore |= labels == self.ignore_index
        safe = labels.masked_fill(ignore, 0)
        loss = -log_p.gather(1, safe[:, None]).squeeze(1)
        if score is not None:
            rest = torch.where(labels < target.num_classes, 1 - score, 0)
            loss = torch.where(labels < target.num_classes, score, 1) * loss - rest * log_p[:, -1]
        if self.class_weight is not None:
            loss = loss * self.class_weight.to(loss.dtype)[safe]
        loss = loss.masked_fill(ignore, 0)
        return self.loss_weight * reduce_loss(loss, reduction, weight, avg_factor)
