"""Losses whose target is a quality: quality focal and varifocal loss.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError
from ..registry import MODELS
from ..structures import ClassTargets
from .base import Target, from_labels, require_sigmoid
from .checks import check_flags, check_numbers, may_read
from .fused.negatives import Negative, PowerNegative
from .sigmoid import Column, SigmoidLoss, binary_cross_entropy


def power_of_gap(p: Tensor, value: Tensor, exponent: float) -> Tensor:
    """``|v - p|^exponent``, its gradient finite at v = p."""
    gap = (value - p).abs()
    return gap.clamp(min=torch.finfo(p.dtype).tiny).pow(exponent)


def quality_focal_loss(
    pred: Tensor,
    target: Tensor | tuple[Tensor, Tensor] | ClassTargets,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    beta: float = 2.0,
    class_weight: Sequence[float] | None = None,
    compile: bool = False,
) -> Tensor:
    """Quality focal loss; see :class:`QualityFocalLoss`."""
    loss = QualityFocalLoss(
        beta=beta, reduction=reduction, class_weight=class_weight, compile=compile
    ).placed(pred)
    return loss(pred, target, weight, avg_factor)


@MODELS.register_module()
class QualityFocalLoss(SigmoidLoss):
    """Focal loss for targets between 0 and 1: ``|v - p|^beta BCE(p, v)``.

    Summed over the classes: one loss a row, ``(R,)``; a mean is over rows.

    Source: X. Li et al., Generalized Focal Loss (2020), equation 2.

    Args:
        use_sigmoid: There is no other form.
        beta: How fast well estimated examples lose weight, at least 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        activated: Whether ``pred`` are probabilities already (the plain formula).
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

    by_row = True

    def __init__(
        self,
        use_sigmoid: bool = True,
        beta: float = 2.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
        *,
        class_weight: Sequence[float] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight, compile)
        require_sigmoid(self, use_sigmoid)
        check_numbers(self, low=0, beta=beta)
        check_flags(self, activated=activated)
        self.beta = beta
        self.activated = activated

    def negative(self) -> Negative:
        """``p^beta softplus(x)``."""
        return PowerNegative(self.beta)

    def mirror(self, column: Tensor) -> float | Tensor | None:
        """1."""
        return 1.0

    def at(self, x: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """``|v - p|^beta BCE(x, v)``."""
        return power_of_gap(x.sigmoid(), value, self.beta) * binary_cross_entropy(x, value)

    def at_probability(self, p: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """``|v - p|^beta BCE(p, v)``."""
        cross_entropy = F.binary_cross_entropy(p, value, reduction='none')
        return power_of_gap(p, value, self.beta) * cross_entropy

    def read_target(self, pred: Tensor, target: Target) -> Tensor | ClassTargets:
        """As in :class:`SigmoidLoss`, and OpenMMLab's pair of labels and scores.

        Dense values that are mostly zero become sparse, which costs less and gives the
        result of the pair to the last bit.
        """
        if not isinstance(target, (tuple, list)):
            target = super().read_target(pred, target)
            if not isinstance(target, Tensor) or self.activated:
                return target
            if pred.dim() != 2 or target.requires_grad or not may_read(target):
                return target
            few = 4 * int(target.count_nonzero()) <= target.numel()
            return sparse_of(target) if few else target
        right = len(target) == 2 and pred.dim() == 2
        for part, whole in zip(target, (True, False)):
            right = right and isinstance(part, Tensor) and part.shape == pred.shape[:1]
            right = right and part.dtype != torch.bool and part.is_floating_point() != whole
        if not right:
            got = ', '.join(
                f'{part.dtype} {tuple(part.shape)}' if isinstance(part, Tensor) else repr(part)
                for part in target
            )
            raise ShapeError(
                'target: expected (int labels, float scores) of shape '
                f'{tuple(pred.shape[:1])} each, got ({got})'
            )
        labels, scores = target
        return from_labels(self, pred, labels, scores)


def sparse_of(values: Tensor) -> ClassTargets:
    """The sparse target of dense ``(R, C)`` values, whatever is not 0 positive."""
    rows, classes = values.nonzero().unbind(1)
    return ClassTargets(
        rows=rows,
        classes=classes,
        values=values[rows, classes],
        positive=torch.ones_like(rows, dtype=torch.bool),
        ignored=torch.zeros(values.shape[0], dtype=torch.bool, device=values.device),
        num_classes=values.shape[1],
    )


def varifocal_loss(
    pred: Tensor,
    target: Tensor | ClassTargets,
    weight: Tensor | None = None,
    *,
    alpha: float = 0.75,
    gamma: float = 2.0,
    iou_weighted: bool = True,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    class_weight: Sequence[float] | None = None,
    compile: bool = False,
) -> Tensor:
    """Varifocal loss; see :class:`VarifocalLoss`."""
    loss = VarifocalLoss(
        True,
        alpha,
        gamma,
        iou_weighted,
        reduction,
        class_weight=class_weight,
        compile=compile,
    ).placed(pred)
    return loss(pred, target, weight, avg_factor)


@MODELS.register_module()
class VarifocalLoss(SigmoidLoss):
    """``v BCE(p, v)`` where there is an object, ``alpha |p - v|^gamma BCE(p, v)`` elsewhere.

    Positives are not damped: they are few, and the good ones matter most.

    Source: H. Zhang et al., VarifocalNet (2021), equation 2. Soft entries of a sparse
    target, of which the paper knows none, count as negatives with a value.

    Args:
        use_sigmoid: There is no other form.
        alpha: Weight of the negatives, at least 0.
        gamma: How fast well classified negatives lose weight, at least 0.
        iou_weighted: Whether positives weigh as much as their quality; else 1.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        iou_weighted: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        *,
        class_weight: Sequence[float] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight, compile)
        require_sigmoid(self, use_sigmoid)
        check_numbers(self, low=0, alpha=alpha, gamma=gamma)
        check_flags(self, iou_weighted=iou_weighted)
        self.alpha = alpha
        self.gamma = gamma
        self.iou_weighted = iou_weighted

    def negative(self) -> Negative:
        """``p^gamma softplus(x)``."""
        return PowerNegative(self.gamma)

    def negative_weight(self) -> float | Tensor:
        """``alpha``."""
        return self.alpha

    def at(self, x: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """See the class."""
        of_object = value if self.iou_weighted else torch.ones_like(value)
        elsewhere = self.alpha * power_of_gap(x.sigmoid(), value, self.gamma)
        return torch.where(positive, of_object, elsewhere) * binary_cross_entropy(x, value)
