"""Seesaw loss for long-tailed classes.

Shapes: R rows, C classes.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, ShapeError
from ..registry import MODELS
from .base import BaseLoss, Target
from .reduction import in_float, reduce_loss
from .sigmoid import check_columns, column_tensor
from .softmax import ExclusiveTarget, exclusive_target


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
    *,
    p: float = 0.8,
    q: float = 2.0,
    eps: float = 1e-2,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
) -> Tensor:
    """Softmax cross entropy of :func:`seesaw_logits`.

    Source: J. Wang et al., Seesaw Loss for Long-Tailed Instance Segmentation (2021),
    equations 3 to 7.

    Args:
        logits: ``(R, C)``.
        labels: ``(R,)`` in [0, C).
        counts: ``(C,)`` rows seen of each class so far.
        p: Strength of the mitigation.
        q: Strength of the compensation.
        eps: The least probability of the true class that counts.
        weight: ``(R,)``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.

    Raises:
        ShapeError: If rows or classes do not fit.
    """
    if counts.shape != logits.shape[1:] or labels.shape != logits.shape[:1]:
        raise ShapeError(
            'labels and counts: expected (R,) and (C,) for logits (R, C), got '
            f'{tuple(labels.shape)} and {tuple(counts.shape)} for {tuple(logits.shape)}'
        )
    x = seesaw_logits(in_float(logits), labels, counts, p, q, eps)
    loss = F.cross_entropy(x, labels, reduction='none')
    return reduce_loss(loss, reduction, weight, avg_factor)


@MODELS.register_module()
class SeesawLoss(BaseLoss):
    """Cross entropy that spares rare classes from the gradients of frequent ones.

    ``pred`` has either C + 2 columns, the classes and two of objectness (object,
    background) with a softmax of their own, as in OpenMMLab; or C + 1, the classes and
    the background in one softmax, where only classes seesaw against each other.

    Source: J. Wang et al., Seesaw Loss (2021), equations 3 to 7; see
    :func:`seesaw_logits`. The counts are a buffer, ``cum_samples``, and grow by the rows
    of each training batch. Deviation from OpenMMLab: the sum of both parts comes back,
    not a dict, unless ``return_dict`` says otherwise.

    Args:
        use_sigmoid: Must be False.
        p: Strength of the mitigation.
        q: Strength of the compensation.
        num_classes: C.
        eps: The least probability of the true class that counts.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        return_dict: Give ``loss_cls_classes`` and ``loss_cls_objectness`` apart.
        class_weight: C numbers that multiply the losses of the rows of each class.
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
        if use_sigmoid:
            raise ConfigError('SeesawLoss: there is no sigmoid form; leave use_sigmoid out')
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

    def compute(  # type: ignore[override]
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor | dict[str, Tensor]:
        """See :meth:`BaseLoss.compute`."""
        extra = pred.shape[-1] - self.num_classes
        if pred.dim() != 2 or extra not in (1, 2):
            raise ShapeError(
                f'pred: expected (R, {self.num_classes} + 1) or (R, {self.num_classes} + 2), got '
                f'{tuple(pred.shape)}'
            )
        x = in_float(pred)
        rows = exclusive_target(pred[:, : self.num_classes + 1], target)
        weight = None if weight is None else in_float(weight).reshape(-1)
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
        """Add the rows of a batch to the counts."""
        self.cum_samples.index_add_(0, rows.label, rows.kept.to(self.cum_samples.dtype))

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
