"""The focal loss of heatmaps with Gaussian targets around their peaks.

Shapes: B images, C classes, H, W map; or R rows (pixels), C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..registry import MODELS
from ..structures import ClassTargets
from ..structures.loss_term import Kind
from .checks import (
    check_call,
    check_flags,
    check_indices,
    check_numbers,
    check_probabilities,
    check_same_shape,
)
from .fused.negatives import PowerNegative, softplus
from .reduction import in_float, like_pred, reduce_loss
from .sigmoid import SigmoidLoss, SigmoidRule, class_setting, sigmoid_loss
from .targets import Target

# OpenMMLab's, inside the logarithms of probabilities.
_EPS = 1e-12


def gaussian_focal_elements(
    x: Tensor,
    value: Tensor,
    peak: Tensor,
    alpha: float = 2.0,
    gamma: float = 4.0,
    pos_weight: float = 1.0,
    neg_weight: float = 1.0,
) -> Tensor:
    """``-(1 - p)^alpha log p`` at the peaks, ``-(1 - v)^gamma p^alpha log(1 - p)`` elsewhere.

    ``p = sigmoid(x)``; H. Law and J. Deng, CornerNet (2018), equation 1.

    Args:
        x: Logits, any shape.
        value: Their targets in [0, 1]: 1 at a peak, falling off around it.
        peak: bool, which are peaks.
        alpha: How fast well classified pixels lose weight.
        gamma: How fast the pixels around a peak lose weight.
        pos_weight: Weight of the peaks.
        neg_weight: Weight of all others.
    """
    # Powers by their logarithms, finite for any x.
    hit = torch.exp(-alpha * softplus(x)) * softplus(-x)
    miss = torch.exp(-alpha * softplus(-x)) * softplus(x) * (1 - value).pow(gamma)
    return torch.where(peak, pos_weight * hit, neg_weight * miss)


def gaussian_focal_elements_of_probabilities(
    p: Tensor,
    value: Tensor,
    peak: Tensor,
    alpha: float,
    gamma: float,
    pos_weight: float,
    neg_weight: float,
) -> Tensor:
    """:func:`gaussian_focal_elements` where probabilities are given in place of logits."""
    hit = -torch.log(p + _EPS) * (1 - p).pow(alpha)
    miss = -torch.log(1 - p + _EPS) * p.pow(alpha) * (1 - value).pow(gamma)
    return torch.where(peak, pos_weight * hit, neg_weight * miss)


def gaussian_focal_loss(
    pred: Tensor,
    target: Target,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    alpha: float = 2.0,
    gamma: float = 4.0,
    pos_weight: float = 1.0,
    neg_weight: float = 1.0,
    use_sigmoid: bool | None = None,
    class_weight: Sequence[float] | Tensor | None = None,
    loss_weight: float = 1.0,
    compile: bool = False,
    pos_inds: Tensor | None = None,
    pos_labels: Tensor | None = None,
) -> Tensor:
    """Gaussian focal loss: :func:`gaussian_focal_elements` of every logit.

    Args:
        pred: ``(B, C, H, W)``, ``(R, C)`` or any shape; see ``use_sigmoid``.
        target: Its shape, in [0, 1], 1 at the peaks; or :class:`ClassTargets`.
        weight: One an element, or a row.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        alpha: How fast well classified pixels lose weight, at least 0.
        gamma: How fast the pixels around a peak lose weight, at least 0.
        pos_weight: Weight of the peaks, at least 0.
        neg_weight: Weight of all others, at least 0.
        use_sigmoid: Whether ``pred`` are logits; None: beside :class:`ClassTargets` and
            labels they are, beside a tensor of values they are probabilities.
        class_weight: C numbers of at least 0 that multiply the losses of each class.
        loss_weight: The loss is multiplied by it.
        compile: On the CPU, run the fused pass as compiled C.
        pos_inds: ``(P,)`` rows of peaks, where the target does not mark them by 1.
        pos_labels: ``(P,)`` their classes.
    """
    check_call(pred, weight, reduction, avg_factor)
    settings = dict(alpha=alpha, gamma=gamma, pos_weight=pos_weight, neg_weight=neg_weight)
    check_numbers('gaussian_focal_loss', low=0, **settings)  # type: ignore[arg-type]
    given = reads_probabilities(use_sigmoid, target)
    class_dim = -1 if pred.dim() < 3 else 1  # of maps the second
    rule = SigmoidRule(
        on_targets=lambda x, value, positive, column: gaussian_focal_elements(
            x, value, positive, **settings
        ),
        on_negatives=PowerNegative(alpha),  # p^alpha softplus(x)
        negative_weight=neg_weight,
        positive_weight=pos_weight,
        on_probabilities=lambda p, value, positive, column: (
            gaussian_focal_elements_of_probabilities(p, value, positive, **settings)
        ),
        class_weight=class_setting('class_weight', class_weight, pred, class_dim=class_dim),
        is_positive=lambda value: value == 1,
        class_dim=class_dim,
    )
    if pos_inds is not None:
        rows, labels = check_indices(pos_inds, pos_labels, pred)
        if given:
            check_probabilities('GaussianFocalLoss', pred)
        loss = _with_peaks(pred, target, rows, labels, rule, weight, reduction, avg_factor, given)
        return loss_weight * loss
    return sigmoid_loss(
        pred,
        target,
        weight,
        rule,
        owner='GaussianFocalLoss',
        reduction=reduction,
        avg_factor=avg_factor,
        loss_weight=loss_weight,
        activated=given,
        compile=compile,
    )


def reads_probabilities(use_sigmoid: bool | None, target: object) -> bool:
    """Whether ``pred`` are probabilities beside this target."""
    return isinstance(target, Tensor) if use_sigmoid is None else not use_sigmoid


def _with_peaks(
    pred: Tensor,
    target: object,
    rows: Tensor,
    labels: Tensor,
    rule: SigmoidRule,
    weight: Tensor | None,
    reduction: str,
    avg_factor: Tensor | float | None,
    given: bool,
) -> Tensor:
    """The loss of all elements as negatives, and of the peaks at rows and labels besides."""
    value = like_pred(check_same_shape(pred, target), pred)
    pred = in_float(pred)
    formula = rule.on_probabilities if given else rule.on_targets
    assert formula is not None
    with torch.autocast(pred.device.type, enabled=False):
        nothing = torch.zeros_like(value, dtype=torch.bool)
        negative = formula(pred, value, nothing, slice(None))
        hit = pred[rows, labels]
        yes = torch.ones_like(hit)
        positive = formula(hit, yes, yes > 0, labels)
        if rule.class_weight is not None:
            negative = negative * rule.class_weight
            positive = positive * rule.class_weight[labels]
        if reduction == 'none':
            negative = negative.index_put((rows, labels), positive, accumulate=True)
            return reduce_loss(negative, 'none', weight)
        total = reduce_loss(positive, reduction, None, avg_factor)
        return total + reduce_loss(negative, reduction, weight, avg_factor)


@MODELS.register_module()
class GaussianFocalLoss(SigmoidLoss):
    """``-(1 - p)^alpha log p`` at the peaks, ``-(1 - v)^gamma p^alpha log(1 - p)`` elsewhere.

    v is the target, 1 at a peak and falling off around it, so that near misses cost less. See
    :func:`gaussian_focal_loss`.

    Source: H. Law and J. Deng, CornerNet (2018), equation 1.

    Plain formula: ``gaussian_focal`` in ``testing/reference/losses/classes.py``.

    Args:
        alpha: How fast well classified pixels lose weight, at least 0.
        gamma: How fast the pixels around a peak lose weight, at least 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        pos_weight: Weight of the peaks, at least 0.
        neg_weight: Weight of all others, at least 0.
        use_sigmoid: Whether ``pred`` are logits. By default they are beside
            :class:`ClassTargets`, as the heads of this package give them, and
            probabilities beside a tensor, as in OpenMMLab. False: always probabilities.
        class_weight: C numbers of at least 0 that multiply the losses of each class; of a map
            ``(B, C, H, W)``, its second dimension.
        compile: On the CPU, run the fused pass as compiled C; needs a C compiler.
    """

    # No centreness: a value below 1 is a Gaussian target beside a peak to it, of which it learns 0.
    kinds: tuple[Kind, ...] = ('heatmap', 'classification', 'objectness')

    def __init__(
        self,
        alpha: float = 2.0,
        gamma: float = 4.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        pos_weight: float = 1.0,
        neg_weight: float = 1.0,
        *,
        use_sigmoid: bool | None = None,
        class_weight: Sequence[float] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight, class_weight, compile)
        check_numbers(
            self, low=0, alpha=alpha, gamma=gamma, pos_weight=pos_weight, neg_weight=neg_weight
        )
        if use_sigmoid is not None:
            check_flags(self, use_sigmoid=use_sigmoid)
        self.alpha = alpha
        self.gamma = gamma
        self.pos_weight = pos_weight
        self.neg_weight = neg_weight
        self.logits = use_sigmoid
        if use_sigmoid is False:
            self.activation = 'identity'

    def forward(  # type: ignore[override]
        self,
        pred: Tensor,
        target: Tensor | ClassTargets,
        pos_inds: Tensor | None = None,
        pos_labels: Tensor | None = None,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss; note that the third positional argument is not the weight.

        Args:
            pred: ``(B, C, H, W)``, ``(R, C)`` or any shape; see ``use_sigmoid``.
            target: Its shape, in [0, 1], 1 at the peaks; or :class:`ClassTargets`.
            pos_inds: ``(P,)`` rows of peaks, where the target does not mark them by 1;
                then ``pred`` is ``(R, C)``, and every other element counts as a negative.
            pos_labels: ``(P,)`` their classes.
            weight: One an element, or a row.
            avg_factor: What a mean divides by.
            reduction_override: In place of ``reduction``.
        """
        reduction = self.check_call(pred, weight, avg_factor, reduction_override)
        peaks = (pos_inds, pos_labels)
        return self.compute(pred, target, weight, reduction, avg_factor, *peaks)

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
        pos_inds: Tensor | None = None,
        pos_labels: Tensor | None = None,
    ) -> Tensor:
        """:func:`gaussian_focal_loss`."""
        return gaussian_focal_loss(
            pred,
            target,
            weight,
            reduction,
            avg_factor,
            alpha=self.alpha,
            gamma=self.gamma,
            pos_weight=self.pos_weight,
            neg_weight=self.neg_weight,
            use_sigmoid=self.logits,
            class_weight=self.class_weight,
            loss_weight=self.loss_weight,
            compile=self.compiled,
            pos_inds=pos_inds,
            pos_labels=pos_labels,
        )

    def reads_probabilities(self, target: object) -> bool:
        """See ``use_sigmoid``."""
        return reads_probabilities(self.logits, target)
