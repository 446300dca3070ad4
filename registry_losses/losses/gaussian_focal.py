"""The focal loss of heatmaps with Gaussian peaks.

Shapes: B images, C classes, H, W map; or R rows (pixels), C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import DataError, ShapeError
from ..registry import MODELS
from ..structures import ClassTargets
from ..structures.loss_term import Kind
from .base import Target
from .checks import check_flags, check_numbers, check_probabilities, check_same_shape, may_read
from .fused.negatives import Negative, PowerNegative, softplus
from .reduction import in_float, like_pred, reduce_loss
from .sigmoid import ALL, Column, SigmoidLoss

# OpenMMLab's, inside the logarithms of probabilities.
_EPS = 1e-12


def gaussian_focal_loss(
    pred: Tensor,
    target: Tensor | ClassTargets,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    alpha: float = 2.0,
    gamma: float = 4.0,
    pos_weight: float = 1.0,
    neg_weight: float = 1.0,
    use_sigmoid: bool | None = None,
    class_weight: Sequence[float] | None = None,
    compile: bool = False,
) -> Tensor:
    """Gaussian focal loss; see :class:`GaussianFocalLoss`."""
    loss = GaussianFocalLoss(
        alpha,
        gamma,
        reduction,
        1.0,
        pos_weight,
        neg_weight,
        use_sigmoid=use_sigmoid,
        class_weight=class_weight,
        compile=compile,
    ).placed(pred)
    return loss(pred, target, weight=weight, avg_factor=avg_factor)


@MODELS.register_module()
class GaussianFocalLoss(SigmoidLoss):
    """``-(1 - p)^alpha log p`` at the peaks, ``-(1 - v)^gamma p^alpha log(1 - p)`` elsewhere.

    v is the target, 1 at a peak and falling off around it, so that near misses cost less.

    Source: H. Law and J. Deng, CornerNet (2018), equation 1.

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
        if pos_inds is None:
            return super().forward(pred, target, weight, avg_factor, reduction_override)
        reduction = self.check_call(pred, weight, avg_factor, reduction_override)
        places = check_indices(pos_inds, pos_labels, pred)
        self.check_columns(pred)
        if not self.logits:
            check_probabilities(self, pred)
        with torch.autocast(pred.device.type, enabled=False):
            return self._at_indices(
                in_float(pred),
                like_pred(check_same_shape(pred, target), pred),
                *places,
                weight,
                reduction,
                avg_factor,
            )

    def _at_indices(
        self,
        pred: Tensor,
        target: Tensor,
        rows: Tensor,
        labels: Tensor,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        formula = self.at if self.logits else self.at_probability
        nothing = torch.zeros_like(target, dtype=torch.bool)
        negative = formula(pred, target, nothing, ALL)
        hit = pred[rows, labels]
        yes = torch.ones_like(hit)
        positive = formula(hit, yes, yes > 0, labels)
        if self.class_weight is not None:
            negative = negative * self.class_weight
            positive = positive * self.class_weight[labels]
        if reduction == 'none':
            negative = negative.index_put((rows, labels), positive, accumulate=True)
            return self.loss_weight * reduce_loss(negative, 'none', weight)
        total = reduce_loss(positive, reduction, None, avg_factor)
        return self.loss_weight * (total + reduce_loss(negative, reduction, weight, avg_factor))

    def negative(self) -> Negative:
        """``p^alpha softplus(x)``."""
        return PowerNegative(self.alpha)

    def negative_weight(self) -> float | Tensor:
        """``neg_weight``."""
        return self.neg_weight

    def mirror(self, column: Tensor) -> float | Tensor | None:
        """``pos_weight``."""
        return self.pos_weight

    def positive_at(self, value: Tensor) -> Tensor:
        """The peaks alone."""
        return value == 1

    def reads_probabilities(self, target: Target) -> bool:
        """See ``use_sigmoid``."""
        return isinstance(target, Tensor) if self.logits is None else not self.logits

    def num_columns(self, pred: Tensor) -> int:
        """C, the second dimension of maps."""
        return super().num_columns(pred) if pred.dim() < 3 else pred.shape[1]

    def spread(self, column: Tensor, loss: Tensor) -> Tensor:
        """Class weights along the second dimension of maps."""
        return column if loss.dim() < 3 else column.reshape(-1, *([1] * (loss.dim() - 2)))

    def at(self, x: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """See the class; powers by their logarithms, finite for any ``x``."""
        hit = torch.exp(-self.alpha * softplus(x)) * softplus(-x)
        miss = torch.exp(-self.alpha * softplus(-x)) * softplus(x) * (1 - value).pow(self.gamma)
        return torch.where(positive, self.pos_weight * hit, self.neg_weight * miss)

    def at_probability(self, p: Tensor, value: Tensor, positive: Tensor, column: Column) -> Tensor:
        """See the class."""
        hit = -torch.log(p + _EPS) * (1 - p).pow(self.alpha)
        miss = -torch.log(1 - p + _EPS) * p.pow(self.alpha) * (1 - value).pow(self.gamma)
        return torch.where(positive, self.pos_weight * hit, self.neg_weight * miss)


def check_indices(rows: object, labels: object, pred: Tensor) -> tuple[Tensor, Tensor]:
    """Peaks ``(P,)`` by row and class, if they are places of ``pred (R, C)``.

    Raises:
        DataError: If one lies outside (looked at on the CPU alone).
        ShapeError: If they are no pair of index vectors.
    """
    parts = tuple(part for part in (rows, labels) if isinstance(part, Tensor))
    right = pred.dim() == 2 and len(parts) == 2 and parts[0].shape == parts[1].shape
    if not right or any(part.dim() != 1 or part.dtype != torch.int64 for part in parts):
        got = ' and '.join(
            f'{part.dtype} {tuple(part.shape)}' if isinstance(part, Tensor) else repr(part)
            for part in (rows, labels)
        )
        raise ShapeError(
            'pos_inds and pos_labels: expected int64 (P,) both, beside pred (R, C), got '
            f'{got} beside pred {tuple(pred.shape)}; the weight is the fifth argument'
        )
    for name, part, size in zip(('pos_inds', 'pos_labels'), parts, pred.shape):
        if may_read(part) and part.numel() and not 0 <= int(part.min()) <= int(part.max()) < size:
            raise DataError(
                f'{name}: expected 0 to {size - 1}, got {int(part.min())} to {int(part.max())}'
            )
    return parts[0], parts[1]
