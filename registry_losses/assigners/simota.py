"""SimOTA: each gt takes the k cheapest priors near its centre (YOLOX).

Shapes: B images, N priors, T pairs, C classes.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..registry import TASK_UTILS
from ..structures import GroundTruth, Predictions, Priors
from .candidates.centers import Region, around_center, inside_both
from .matching.dynamic_k import CostMatchingAssigner, Neighbourhood, PairTerms
from .matching.pairs import Pairs, sum_over_classes

# Added to the cost of pairs outside the box or far from its centre; the value, and with it
# the rounding of such costs, is that of YOLOX.
FAR_COST = 1e5
# Keeps the logarithm of an IoU of 0 finite.
IOU_EPS = 1e-7
# Binary cross entropy bounds its logarithms.
LOG_FLOOR = -100.0


def minus_negative_bce(scores: Tensor) -> Tensor:
    """Binary cross entropy of scores that should be 0, each at most 100, negated."""
    return scores.neg().log1p_().clamp_(min=LOG_FLOOR)


def positive_bce(scores: Tensor) -> Tensor:
    """Binary cross entropy of scores that should be 1, each at most 100."""
    return torch.log(scores).clamp_(min=LOG_FLOOR).neg_()


@dataclass(frozen=True, eq=False)
class SimOTATerms(PairTerms):
    """``cls_weight BCE(scores, one-hot) + iou_weight (-log IoU) + 1e5 [not near]``.

    Args:
        near_region: Inside the box and near its centre.
        cls_weight: Weight of the class cost.
        iou_weight: Weight of the IoU cost.
        all_negative: See :class:`PairTerms`; only the gt's class must be corrected, and no
            (N, M, C) is ever built.
    """

    near_region: Region = field(kw_only=True)
    cls_weight: float = field(kw_only=True)
    iou_weight: float = field(kw_only=True)

    def cost(self, pairs: Pairs, overlaps: Tensor) -> Tensor:
        """See the class."""
        return self.near_cost(pairs, overlaps) + FAR_COST * self._far(pairs)

    def near_cost(self, pairs: Pairs, overlaps: Tensor) -> Tensor:
        """Without the last term."""
        score = self.scores(pairs)
        cls_cost = self.all_negative.index_select(0, pairs.flat_index)
        cls_cost = cls_cost.add_(minus_negative_bce(score)).add_(positive_bce(score))
        iou_cost = -torch.log(overlaps + IOU_EPS)
        return cls_cost * self.cls_weight + iou_cost * self.iou_weight

    def _far(self, pairs: Pairs) -> Tensor:
        boxes, centers, strides = self.gt_boxes(pairs), self.gt_points(pairs), self.strides(pairs)
        low, high = self.near_region(boxes, centers, strides)
        points = self.points(pairs)
        return ~((points > low) & (points < high)).all(dim=-1)


@TASK_UTILS.register_module()
class SimOTAAssigner(CostMatchingAssigner):
    """Each gt takes the k cheapest priors near its centre; k follows from its current IoUs.

    * Priors take part when their centre lies strictly inside any gt's box or within
      ``center_radius`` strides of its centre.
    * The cost of a pair is ``cls_weight BCE(scores, one-hot) + iou_weight (-log IoU)``,
      plus 1e5 where the prior is not both inside the box and near the centre.
    * A gt's k is the sum of its ``candidate_topk`` best IoUs among the priors that take
      part, rounded down, at least 1.
    * A prior chosen by several gts goes to the one for which it is cheapest.

    Ge et al., YOLOX: Exceeding YOLO Series in 2021, arXiv:2107.08430, section 2.1.

    As in YOLOX's code, the k sums IoUs over every prior that takes part in the image, not
    only this gt's own; a gt with fewer near priors than k takes far ones too; and a prior
    in conflict may go to a gt that did not ask for it. Exact ties go to the lower prior,
    and of gts to the lower; but of far priors, whose costs are often equal in float32, the
    choice on the CPU is that of ``torch.topk``, as there.

    The quality of a pair, YOLOX's class target, is its IoU.

    In plain loops: :func:`registry_losses.testing.reference.assigners.simota`.

    Args:
        center_radius: Reach of the centre region in strides.
        candidate_topk: IoUs summed for k.
        iou_weight: Weight of the IoU cost.
        cls_weight: Weight of the class cost.
        quality: ``'iou'``, or ``'one'`` for hard class targets.
        min_positives: The least number of positives a gt gets, if need be of its nearest
            free priors (:func:`.matching.least_positives.fill_up`).
        min_gt_size: Pixels; the sides of a gt count as at least so long where priors inside
            it are looked for, so that a small gt finds some.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Example:
        >>> assigner = SimOTAAssigner(center_radius=2.5)
    """

    def __init__(
        self,
        center_radius: float = 2.5,
        candidate_topk: int = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
        *,
        quality: str = 'iou',
        min_positives: int = 0,
        min_gt_size: float = 0.0,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(
            candidate_topk,
            quality=quality,
            min_positives=min_positives,
            min_gt_size=min_gt_size,
            ignore_iof_thr=ignore_iof_thr,
            ignore_wrt_candidates=ignore_wrt_candidates,
        )
        self.center_radius = center_radius
        self.iou_weight = iou_weight
        self.cls_weight = cls_weight

    def _regions(self) -> tuple[Region, ...]:
        return self._box, around_center(self.center_radius)

    def _near_region(self) -> Region:
        return inside_both(self._box, around_center(self.center_radius))

    def _neighbourhoods(self) -> tuple[Neighbourhood, ...]:
        # Slightly less than the term itself, for an IoU that rounds to more than 1.
        return (Neighbourhood(self._near_region(), FAR_COST * (1 - 1e-6)),)

    def _terms(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions, taking_part: Tensor
    ) -> SimOTATerms:
        return SimOTATerms(
            priors,
            gt,
            predictions,
            near_region=self._near_region(),
            cls_weight=self.cls_weight,
            iou_weight=self.iou_weight,
            all_negative=sum_over_classes(
                predictions.scores, minus_negative_bce, taking_part
            ).neg_(),
        )
