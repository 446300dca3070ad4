"""Seesaw loss for long-tailed classes.

Shapes: R rows, C classes.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError, UnsupportedModeError
from ..ops.ranks import sum_over_ranks
from ..registry import MODELS
from .base import BaseLoss
from .checks import (
    check_columns,
    check_counts,
    check_flags,
    check_floating,
    check_numbers,
    column_tensor,
)
from .reduction import in_float, reduce_loss
from .softmax import ExclusiveTarget, exclusive_target, row_weights
from .targets import Target


def seesaw_logits(
    logits: Tensor,
    labels: Tensor,
    counts: Tensor,
    p: float = 0.8,
    q: float = 2.0,
    eps: float = 1e-2,
) -> Tensor:
    """The logits with ``log S_ij`` added: ``S_ij = M_ij C_ij`` for a row of class i.

    * mitigation ``M_ij = (N_j / N_i)^p`` where j is rarer than i, else 1;
    * compensation ``C_ij = (sigma_j / sigma_i)^q`` where j is more probable than i, else 1.

    Args:
        logits: ``(R, C)``.
        labels: ``(R,)`` in [0, C).
        counts: ``(C,)`` rows seen of each class so far.
        p: Strength of the mitigation; 0 turns it off.
        q: Strength of the compensation; 0 turns it off.
        eps: The least probability of the true class that counts.
    """
    log_seesaw = torch.zeros_like(logits)
    if p > 0:
        n = counts.clamp(min=1).to(logits.dtype).log()
        log_seesaw = log_seesaw + p * (n - n[labels, None]).clamp(max=0)  # (R, C)
    if q > 0:
        scores = F.log_softmax(logits.detach(), dim=1)
        own = scores.gather(1, labels[:, None]).clamp(min=math.log(eps))
        log_seesaw = log_seesaw + q * (scores - own).clamp(min=0)
    not_own = torch.ones_like(logits).scatter_(1, labels[:, None], 0)
    return logits + log_seesaw * not_own


def seesaw_loss(
    logits: Tensor,
    labels: Tensor,
    counts: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    p: float = 0.8,
    q: float = 2.0,
    eps: float = 1e-2,
    class_weight: Sequence[float] | None = None,
) -> Tensor:
    """Softmax cross entropy of :func:`seesaw_logits`.

    Source: J. Wang et al., Seesaw Loss for Long-Tailed Instance Segmentation (2021),
    the mitigation and the compensation factor.

    Args:
        logits: ``(R, C)``.
        labels: ``(R,)`` in [0, C), or negative for rows that take no part.
        counts: ``(C,)`` rows seen of each class so far.
        weight: ``(R,)``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        p: Strength of the mitigation, at least 0.
        q: Strength of the compensation, at least 0.
        eps: The least probability of the true class that counts, in (0, 1].
        class_weight: C numbers of at least 0 that multiply the losses of each class's rows.

    Raises:
        DataError: If a label is above the classes; see :func:`.checks.check_labels`.
        ShapeError: If rows or classes do not fit.
    """
    check_floating('logits', logits)
    _check_settings('seesaw_loss', p, q, eps)
    rows = exclusive_target(logits, labels, owner='seesaw_loss', dense=False)
    c = logits.shape[1]
    if not isinstance(counts, Tensor) or tuple(counts.shape) != (c,):
        got = tuple(counts.shape) if isinstance(counts, Tensor) else type(counts).__name__
        raise ShapeError(f'counts: expected ({c},), a number for each class, (C,), got {got}')
    w = column_tensor(class_weight)
    check_columns('class_weight', w, c)
    cost = -F.log_softmax(seesaw_logits(in_float(logits), rows.label, counts, p, q, eps), dim=1)
    loss = rows.expect(cost if w is None else cost * w.to(cost))
    return reduce_loss(loss, reduction, row_weights(weight, loss.shape[0]), avg_factor)


def _check_settings(owner: object, p: float, q: float, eps: float) -> None:
    check_numbers(owner, low=0, p=p, q=q)
    check_numbers(owner, low=0, above=True, high=1, eps=eps)


@MODELS.register_module()
class SeesawLoss(BaseLoss):
    """Cross entropy that spares rare classes from the gradients of frequent ones.

    ``pred`` has either C + 2 columns, the classes and two of objectness (object,
    background) with a softmax of their own, as in OpenMMLab; or C + 1, the classes and
    the background in one softmax, where only classes seesaw against each other.

    Source: J. Wang et al., Seesaw Loss (2021); see
    :func:`seesaw_logits`. The counts are a buffer, ``cum_samples``, and grow by the rows
    of each training batch. Deviation from OpenMMLab: the sum of both parts comes back,
    not a dict, unless ``return_dict`` says otherwise.

    Plain formula: ``seesaw`` in ``testing/reference/losses/classes.py``.

    Args:
        use_sigmoid: Must be False.
        p: Strength of the mitigation, at least 0.
        q: Strength of the compensation, at least 0.
        num_classes: C.
        eps: The least probability of the true class that counts, in (0, 1].
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        return_dict: Give ``loss_cls_classes`` and ``loss_cls_objectness`` apart.
        class_weight: C numbers of at least 0 that multiply the losses of the rows of each class.
    """

    kinds = ('classification',)
    target_format = 'sparse'
    activation = 'softmax'

    def __init__(
        self,
        use_sigmoid: bool = False,
        p: float = 0.8,
        q: float = 2.0,
        num_classes: int = 1203,
        eps: float = 1e-2,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        return_dict: bool = False,
        *,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        check_flags(self, use_sigmoid=use_sigmoid, return_dict=return_dict)
        if use_sigmoid:
            raise UnsupportedModeError(
                'SeesawLoss: use_sigmoid: expected False, as there is no sigmoid form, got True'
            )
        check_counts(self, num_classes=num_classes)
        _check_settings(self, p, q, eps)
        check_columns('class_weight', column_tensor(class_weight), num_classes)
        self.p = p
        self.q = q
        self.num_classes = num_classes
        self.eps = eps
        self.return_dict = return_dict
        self.register_buffer('cum_samples', torch.zeros(num_classes + 1))
        self.register_buffer('class_weight', column_tensor(class_weight), persistent=False)
        self.cum_samples: Tensor
        self.class_weight: Tensor | None

    def forward(  # type: ignore[override]
        self,
        cls_score: Tensor,
        labels: Target,
        label_weights: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
        reduction_override: str | None = None,
        *,
        weight: Tensor | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """The loss.

        Args:
            cls_score: ``(R, C + 2)`` or ``(R, C + 1)`` logits.
            labels: Int labels ``(R,)``, C for background and negative ones for rows that
                take no part, or :class:`ClassTargets`. No dense values: a row of several
                classes has no one class to seesaw from.
            label_weights: ``(R,)``.
            avg_factor: What a mean divides by.
            reduction_override: In place of ``reduction``.
            weight: Another name of ``label_weights``.
        """
        weight = label_weights if weight is None else weight
        return super().forward(cls_score, labels, weight, avg_factor, reduction_override)

    def compute(  # type: ignore[override]
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor | dict[str, Tensor]:
        """See :meth:`BaseLoss.compute`."""
        extra = pred.shape[1] - self.num_classes if pred.dim() == 2 else 0
        if extra not in (1, 2):
            raise ShapeError(
                f'pred: expected (R, {self.num_classes} + 1) or (R, {self.num_classes} + 2), got '
                f'{tuple(pred.shape)}'
            )
        x = in_float(pred)
        columns = pred[:, : self.num_classes + 1]
        rows = exclusive_target(columns, target, owner=self, dense=False)
        weight = row_weights(weight, pred.shape[0])
        if self.training:
            self._count(rows)
        if extra == 1:
            parts = {'loss_cls': self._one_softmax(x, rows)}
        else:
            parts = self._two_softmaxes(x, rows)
        out = {}
        for name, loss in parts.items():
            if reduction == 'mean' and avg_factor is None and name == 'loss_cls_classes':
                # A mean over the rows that have a class; the others are no part of it.
                total = reduce_loss(loss, 'sum', weight)
                objects = (rows.kept & (rows.label < self.num_classes)).sum().clamp(min=1)
                out[name] = self.loss_weight * total / objects
            else:
                out[name] = self.loss_weight * reduce_loss(loss, reduction, weight, avg_factor)
        if self.return_dict and extra == 2:
            return out
        return sum(out.values())  # type: ignore[return-value]

    @torch.no_grad()
    def _count(self, rows: ExclusiveTarget) -> None:
        """Add the rows of a batch, those of all ranks, to the counts."""
        kept = rows.kept.to(self.cum_samples.dtype)
        seen = torch.zeros_like(self.cum_samples).index_add_(0, rows.label, kept)
        self.cum_samples.add_(sum_over_ranks([seen])[0])

    def _one_softmax(self, x: Tensor, rows: ExclusiveTarget) -> Tensor:
        c = self.num_classes
        is_object = rows.label < c
        labels = rows.label.clamp(max=c - 1)
        classes = seesaw_logits(x[:, :c], labels, self.cum_samples[:c], self.p, self.q, self.eps)
        classes = torch.where(is_object[:, None], classes, x[:, :c])
        cost = -F.log_softmax(torch.cat((classes, x[:, c:]), dim=1), dim=1)
        return rows.expect(self._weigh(cost))

    def _two_softmaxes(self, x: Tensor, rows: ExclusiveTarget) -> dict[str, Tensor]:
        c = self.num_classes
        is_object = rows.label < c
        labels = rows.label.clamp(max=c - 1)
        logits = seesaw_logits(x[:, :c], labels, self.cum_samples[:c], self.p, self.q, self.eps)
        cost = self._weigh(-F.log_softmax(logits, dim=1))
        of_class = ExclusiveTarget(labels, rows.kept & is_object).expect(cost)
        objectness = ExclusiveTarget((~is_object).long(), rows.kept, rows.score)
        cost = -F.log_softmax(x[:, c:], dim=1)
        return {'loss_cls_classes': of_class, 'loss_cls_objectness': objectness.expect(cost)}

    def _weigh(self, cost: Tensor) -> Tensor:
        """``(R, K)`` costs times the weights of the first C columns."""
        if self.class_weight is None:
            return cost
        weight = cost.new_ones(cost.shape[1])
        weight[: self.num_classes] = self.class_weight.to(cost.dtype)
        return cost * weight
