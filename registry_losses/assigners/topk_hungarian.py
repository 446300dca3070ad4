"""Hungarian matching of several priors to each gt (DDQ's auxiliary queries).

Shapes: B images, N priors, M gts, K pairs, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.iou import bbox_overlaps
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .hungarian import HungarianAssigner
from .matching.alignment import alignment, normalized_alignment
from .matching.costs import MatchCost
from .matching.pairs import TINY_QUALITY, PairReader
from .openmmlab import AssignResult, check_iou_calculator


@dataclass
class TopkHungarianResult(AssignResult):
    """OpenMMLab's result of this assigner.

    Args:
        assign_metrics: ``(K,)`` alignment of each positive prior with its gt.
    """

    assign_metrics: Tensor | None = None


@TASK_UTILS.register_module()
class TopkHungarianAssigner(HungarianAssigner):
    """Every gt gets k priors of its own, such that the sum of the costs is least.

    k is ``topk``, but at most the number of priors over the number of gts of the image,
    rounded down, and at least 1. The quality of a pair is TOOD's: its alignment ``s u^6``, s
    the score of the gt's class and u the IoU, scaled so that a gt's largest is its largest
    IoU. Which of several optimal matchings is returned is not defined.

    Zhang et al., Dense Distinct Query for End-to-End Object Detection, CVPR 2023,
    the auxiliary dense queries.

    ``predictions.scores`` are probabilities, to which FocalLossCost is applied as they are.
    OpenMMLab's form also takes probabilities, but its FocalLossCost applies the sigmoid to
    them once more; :meth:`assign` does so too. Deviation: with more gts than priors
    OpenMMLab's finds no pair.

    In plain loops: :func:`registry_losses.testing.reference.assigners.topk_hungarian`.

    Args:
        topk: Most priors of a gt.
        iou_calculator: Accepted for OpenMMLab's configs: ``BboxOverlaps2D`` or None.
        cls_cost: Config node or object of the class cost.
        reg_cost: Of the cost of the coordinates.
        iou_cost: Of the cost of the overlap.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Example:
        >>> assigner = TopkHungarianAssigner(topk=8)
    """

    def __init__(
        self,
        topk: int,
        iou_calculator: dict | None = None,
        *,
        cls_cost: Mapping | MatchCost | None = None,
        reg_cost: Mapping | MatchCost | None = None,
        iou_cost: Mapping | MatchCost | None = None,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(
            (
                cls_cost or dict(type='FocalLossCost', weight=2.0),
                reg_cost or dict(type='BBoxL1Cost', weight=5.0),
                iou_cost or dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ),
            ignore_iof_thr=ignore_iof_thr,
            ignore_wrt_candidates=ignore_wrt_candidates,
        )
        check_iou_calculator(iou_calculator)
        if topk < 1:
            raise ConfigError(f'topk: expected >= 1, got {topk}')
        self.topk = topk

    def _copies(self, priors: Priors, gt: GroundTruth) -> list[int]:
        size = torch.full((gt.batch_size,), priors.num_priors, device=gt.device)
        if priors.valid is not None:
            size = priors.valid.sum(dim=1)
        each = torch.div(size, gt.valid.sum(dim=1).clamp(min=1), rounding_mode='floor')
        return each.clamp(1, self.topk).tolist()  # sync: how many each gt gets

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        found = super()._assign(priors, gt, predictions)
        assert predictions is not None
        reader = PairReader(priors, gt, predictions)
        pairs = reader.pairs(found.image, found.gt, found.prior)
        overlaps = reader.overlaps(pairs)
        t = alignment(reader.scores(pairs), overlaps, 1.0, 6.0)
        quality = normalized_alignment(t, overlaps, pairs.gt_at, gt.batch_size * gt.max_gts)
        return found.replace(quality=quality.nan_to_num(nan=0.0).clamp(TINY_QUALITY, 1))

    def assign(  # type: ignore[override]  # OpenMMLab's own arguments here
        self,
        pred_scores: Tensor,
        decode_bboxes: Tensor,
        gt_bboxes: Tensor,
        gt_labels: Tensor,
        img_meta: Mapping,
        alpha: float = 1,
        beta: float = 6,
        **kwargs: Any,
    ) -> TopkHungarianResult:
        """OpenMMLab's form.

        Args:
            pred_scores: ``(n, C)`` probabilities.
            decode_bboxes: ``(n, 4)`` xyxy pixels.
            gt_bboxes: ``(m, 4)`` xyxy pixels.
            gt_labels: ``(m,)``.
            img_meta: Its ``img_shape`` is the image's size.
            alpha: Exponent of the score in the alignment.
            beta: Exponent of the IoU.
            **kwargs: Not read.

        Returns:
            With ``max_overlaps (K,)`` and ``assign_metrics (K,)`` of the positives, in the
            order of the priors.
        """
        boxes, scores = decode_bboxes.detach(), pred_scores.detach()
        pred = SimpleNamespace(priors=boxes, bboxes=boxes, scores=scores.sigmoid())
        gts = SimpleNamespace(bboxes=gt_bboxes, labels=gt_labels)
        priors, gt, predictions = self._batch_of_one(pred, gts, None)
        height, width = img_meta['img_shape'][:2]
        gt = replace(gt, image_sizes=gt.boxes.new_tensor([[height, width]]))
        form = priors, gt, predictions
        found = self(*form)
        result = self._result(found, *form)
        if gt.max_gts == 0:
            return TopkHungarianResult(**vars(result))
        overlaps = bbox_overlaps(boxes[found.prior], found.boxes_of(gt), is_aligned=True)
        score = scores[found.prior, found.labels_of(gt)]
        result.max_overlaps = overlaps
        return TopkHungarianResult(
            **vars(result), assign_metrics=alignment(score, overlaps, alpha, beta)
        )
