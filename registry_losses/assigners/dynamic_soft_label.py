"""Dynamic soft labels: SimOTA's matching with a class cost that knows the IoU (RTMDet).

Shapes: B images, N priors, T pairs, C classes.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import PairingError
from ..registry import TASK_UTILS
from ..structures import GroundTruth, Predictions, Priors
from .candidates.centers import Region
from .matching.dynamic_k import CostMatchingAssigner, Neighbourhood, PairTerms
from .matching.pairs import Pairs, sum_over_classes
from .openmmlab import AssignResult
from .simota import IOU_EPS

# The nearest float32 below 1: a probability of 1 is taken for a logit of 16.6; float32 cannot
# express one between that and 1.
_TOP = 1 - 2.0**-24
_BOTTOM = 1e-30


def _minus_softplus(scores: Tensor) -> Tensor:
    """``-softplus(logit) = log(1 - p)``."""
    return scores.neg().clamp_(min=-_TOP).log1p_()


def _minus_negative_cost(scores: Tensor) -> Tensor:
    """Class cost of a class whose target is 0, ``BCE(p, 0) p^2``, negated."""
    return _minus_softplus(scores).mul_(scores).mul_(scores)


@dataclass(frozen=True, eq=False)
class SoftLabelTerms(PairTerms):
    """``sum_c BCE(p_c, y_c) |y_c - p_c|^2 + iou_weight (-log IoU) + 10^(distance - radius)``.

    Args:
        soft_center_radius: Strides at which the distance term is 1.
        iou_weight: Weight of the IoU cost.
        all_negative: See :class:`PairTerms`; zeros leave only the gt's class in the sum.
        other_classes: Whether the sum runs over all classes, or the gt's alone.
    """

    soft_center_radius: float = field(kw_only=True)
    iou_weight: float = field(kw_only=True)
    other_classes: bool = field(kw_only=True, default=True)

    def cost(self, pairs: Pairs, overlaps: Tensor) -> Tensor:
        """See the class; ``y`` is the IoU at the gt's class, 0 elsewhere."""
        score = self.scores(pairs)
        softplus = _minus_softplus(score).neg_()
        logit = torch.log(score.clamp(min=_BOTTOM)) + softplus
        right = (softplus - logit * overlaps) * (overlaps - score).square()
        cls_cost = right
        if self.other_classes:
            cls_cost = self.all_negative.index_select(0, pairs.flat_index)
            # Rounding must not take the sum of the other classes below 0.
            cls_cost = cls_cost.add_(_minus_negative_cost(score)).clamp_(min=0).add_(right)
        iou_cost = -torch.log(overlaps + IOU_EPS) * self.iou_weight
        return cls_cost + iou_cost + self._center_cost(pairs)

    def _center_cost(self, pairs: Pairs) -> Tensor:
        x, y = (self.points(pairs) - self.gt_points(pairs)).square_().unbind(-1)
        distance = (x + y).sqrt_().div_(self.strides(pairs)[:, 0])
        return torch.pow(10, distance.sub_(self.soft_center_radius))


def _within(reach: float) -> Region:
    """A square of ``reach`` horizontal strides around the position of the gt."""

    def region(boxes: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        half = reach * strides[..., :1]
        return points - half, points + half

    return region


# How far beyond the soft radius costs are computed, in strides. The distance term is 10
# there, which decides most gts, and then 316, more than the other terms together, so that
# hardly any gt needs all priors.
NEAR_MARGINS = (1.0, 2.5)


@TASK_UTILS.register_module()
class DynamicSoftLabelAssigner(CostMatchingAssigner):
    """Each gt takes the k cheapest priors; the class cost compares the score with the IoU.

    * Priors take part when their centre lies strictly inside any gt's box.
    * The cost of a pair is ``sum_c BCE(p_c, y_c) |y_c - p_c|^2`` with y the IoU at the
      gt's class and 0 elsewhere, plus ``iou_weight (-log IoU)``, plus
      ``10^(d - soft_center_radius)`` with d the distance of the centres in strides.
    * k and conflicts as in :class:`SimOTAAssigner`.

    Lyu et al., RTMDet: An Empirical Study of Designing Real-Time Object Detectors,
    arXiv:2212.07784, section 3.3, equations 1 to 4.

    ``predictions.scores`` are probabilities, here as everywhere; :meth:`assign`,
    OpenMMLab's form, takes logits, as OpenMMLab's assigner of this name does.
    The quality of a pair, RTMDet's class target, is its IoU.

    In plain loops: :func:`registry_losses.testing.reference.assigners.dynamic_soft_label`.

    Args:
        soft_center_radius: Strides at which the distance term is 1.
        topk: IoUs summed for k.
        iou_weight: Weight of the IoU cost.
        quality: ``'iou'``, or ``'one'`` for hard class targets.
        min_positives: The least number of positives a gt gets, if need be of its nearest
            free priors (:func:`.matching.least_positives.fill_up`).
        min_gt_size: Pixels; the sides of a gt count as at least so long where priors inside
            it are looked for, so that a small gt finds some.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Example:
        >>> assigner = DynamicSoftLabelAssigner(topk=13)
    """

    unmatched_overlap = -1e8

    def __init__(
        self,
        soft_center_radius: float = 3.0,
        topk: int = 13,
        iou_weight: float = 3.0,
        *,
        quality: str = 'iou',
        min_positives: int = 0,
        min_gt_size: float = 0.0,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(
            topk,
            quality=quality,
            min_positives=min_positives,
            min_gt_size=min_gt_size,
            ignore_iof_thr=ignore_iof_thr,
            ignore_wrt_candidates=ignore_wrt_candidates,
        )
        self.soft_center_radius = soft_center_radius
        self.iou_weight = iou_weight

    def _regions(self) -> tuple[Region, ...]:
        return (self._box,)

    def _neighbourhoods(self) -> tuple[Neighbourhood, ...]:
        # Slightly less, for rounding and for an IoU that rounds to more than 1.
        return tuple(
            Neighbourhood(_within(self.soft_center_radius + margin), 10**margin * (1 - 1e-5) - 1e-3)
            for margin in NEAR_MARGINS
        )

    def _terms(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions, taking_part: Tensor
    ) -> SoftLabelTerms:
        return SoftLabelTerms(
            priors,
            gt,
            predictions,
            soft_center_radius=self.soft_center_radius,
            iou_weight=self.iou_weight,
            all_negative=sum_over_classes(
                predictions.scores, _minus_negative_cost, taking_part
            ).neg_(),
        )

    def assign(
        self,
        pred_instances: Any,
        gt_instances: Any,
        gt_instances_ignore: Any = None,
        **kwargs: Any,
    ) -> AssignResult:
        """OpenMMLab's form; ``pred_instances.scores`` are logits there.

        Raises:
            PairingError: If there are no predictions.
        """
        if getattr(pred_instances, 'bboxes', None) is None:
            raise PairingError(
                f'{type(self).__name__} looks at what the head predicts, and this head hands over '
                'none; choose a head that does (RTMDetHead), or an assigner that reads priors alone'
            )
        pred_instances = SimpleNamespace(
            priors=pred_instances.priors,
            bboxes=pred_instances.bboxes,
            scores=pred_instances.scores.sigmoid(),
        )
        return super().assign(pred_instances, gt_instances, gt_instances_ignore, **kwargs)
