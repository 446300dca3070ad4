"""Quality focal loss: focal loss for targets between 0 and 1.

Shapes: R rows (class vectors), C classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError
from ..registry import MODELS
from ..structures import ClassTargets
from .base import require_sigmoid
from .checks import check_flags, check_floating, check_numbers, may_read
from .fused.negatives import PowerNegative
from .sigmoid import SigmoidLoss, SigmoidRule, binary_cross_entropy, class_setting, sigmoid_loss
from .targets import Target, from_labels, read_classes, sparse_of


def power_of_gap(p: Tensor, value: Tensor, exponent: float) -> Tensor:
    """``|v - p|^exponent``, its gradient finite at v = p."""
    gap = (value - p).abs()
    return gap.clamp(min=torch.finfo(p.dtype).tiny).pow(exponent)


def quality_focal_elements(x: Tensor, value: Tensor, beta: float) -> Tensor:
    """``|v - p|^beta BCE(p, v)`` with ``p = sigmoid(x)``, of single logits.

    X. Li et al., Generalized Focal Loss (2020), equation 2.
    """
    return power_of_gap(x.sigmoid(), value, beta) * binary_cross_entropy(x, value)


def quality_focal_elements_of_probabilities(p: Tensor, value: Tensor, beta: float) -> Tensor:
    """:func:`quality_focal_elements` where probabilities are given in place of logits."""
    cross_entropy = F.binary_cross_entropy(p, value, reduction='none')
    return power_of_gap(p, value, beta) * cross_entropy


def quality_focal_loss(
    pred: Tensor,
    target: Target,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    beta: float = 2.0,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
    activated: bool = False,
    compile: bool = False,
) -> Tensor:
    """Quality focal loss: :func:`quality_focal_elements`, summed over the classes, ``(R,)``.

    Args:
        pred: ``(R, C)`` logits, or probabilities if ``activated``.
        target: :class:`ClassTargets`; int labels ``(R,)``, which may come with scores
            ``(R,)`` as a pair; or values of the shape of ``pred``.
        weight: ``(R,)`` or ``(R, C)``.
        reduction: ``'none'``, ``'mean'`` (over rows) or ``'sum'``.
        avg_factor: What a mean divides by.
        beta: How fast well estimated examples lose weight, at least 0.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        loss_weight: The loss is multiplied by it.
        activated: Whether ``pred`` are probabilities already.
        compile: On the CPU, run the fused pass as compiled C.
    """
    check_floating('pred', pred)
    check_numbers('quality_focal_loss', low=0, beta=beta)
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: quality_focal_elements(x, value, beta),
        on_negatives=PowerNegative(beta),  # p^beta softplus(x)
        positive_weight=1.0,
        on_probabilities=lambda p, value, positive, column: quality_focal_elements_of_probabilities(
            p, value, beta
        ),
        class_weight=class_setting('class_weight', class_weight, pred),
        by_row=True,
    )
    return sigmoid_loss(
        pred,
        read_qualities(pred, target, sparse=not activated),
        weight,
        rule,
        owner='QualityFocalLoss',
        reduction=reduction,
        avg_factor=avg_factor,
        loss_weight=loss_weight,
        activated=activated,
        compile=compile,
    )


def read_qualities(pred: Tensor, target: object, *, sparse: bool) -> Tensor | ClassTargets:
    """As :func:`.targets.read_classes`, and OpenMMLab's pair of labels and scores.

    Args:
        pred: ``(R, C)``.
        target: Sparse, labels, dense or the pair.
        sparse: Whether dense values that are mostly zero become sparse, which costs less and
            gives the result of the pair to the last bit.
    """
    if not isinstance(target, (tuple, list)):
        target = read_classes('QualityFocalLoss', pred, target)
        if not isinstance(target, Tensor) or not sparse:
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
    return from_labels('QualityFocalLoss', pred, labels, scores)


@MODELS.register_module()
class QualityFocalLoss(SigmoidLoss):
    """Focal loss for targets between 0 and 1: ``|v - p|^beta BCE(p, v)``.

    Summed over the classes: one loss a row, ``(R,)``; a mean is over rows. See
    :func:`quality_focal_loss`.

    Source: X. Li et al., Generalized Focal Loss (2020), equation 2.

    Plain formula: ``quality_focal`` in ``testing/reference/losses/classes.py``.

    Args:
        use_sigmoid: There is no other form.
        beta: How fast well estimated examples lose weight, at least 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        activated: Whether ``pred`` are probabilities already (the plain formula).
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

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

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """:func:`quality_focal_loss`."""
        return quality_focal_loss(
            pred,
            target,
            weight,
            reduction,
            avg_factor,
            beta=self.beta,
            class_weight=self.class_weight,
            loss_weight=self.loss_weight,
            activated=self.activated,
            compile=self.compiled,
        )
