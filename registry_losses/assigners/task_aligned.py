"""Task alignment: the priors whose class score and box agree best (TOOD, YOLOv6, YOLOv8).

Shapes: B images, N priors, M gts, T pairs claimed, C classes, k best priors per gt.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.boxes import centers_inside
from ..ops.iou import OverlapMode, bbox_overlaps
from ..ops.segments import count_of, segment_topk
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from ..structures.assignment import order_of
from .base import BaseAssigner
from .candidates.centers import box_of_at_least, candidate_blocks
from .candidates.gt_rows import gt_rows
from .candidates.predicted_overlaps import GROUPS, RUN_LENGTH, OverlapBlock, overlapping_blocks
from .conflicts import best_of_all_gts, winners
from .matching.alignment import ALIGNMENT_EPS, alignment, normalized_alignment, power
from .matching.least_positives import check_small, fill_up
from .matching.pairs import TINY_QUALITY, PairReader, Pairs
from .openmmlab import AssignResult

# How far inside its gt a prior's centre must lie, in pixels, after the choice by alignment.
INSIDE_MARGIN = 0.01
# The least float32 above 0.
_LEAST = 2.0**-149


@dataclass
class TaskAlignedResult(AssignResult):
    """OpenMMLab's result of this assigner.

    Args:
        assign_metrics: ``(n,)`` alignment of each positive prior with its gt, 0 elsewhere.
    """

    assign_metrics: Tensor | None = None


@TASK_UTILS.register_module()
class TaskAlignedAssigner(BaseAssigner):
    """Each gt takes the priors of the highest alignment of class score and box.

    The alignment of a pair is ``t = s^alpha u^beta``, s the score of the gt's class and u
    the IoU of the predicted box. A gt's ``topk`` priors of the largest t above 0 become
    positive if their centre lies inside the gt. A prior that several gts take goes to the
    one with the larger IoU; of equal ones, to the first. The quality of a pair, TOOD's
    class target, is t scaled so that a gt's largest is its largest IoU.

    Feng et al., TOOD: Task-aligned One-stage Object Detection, ICCV 2021, section 3.2.

    With ``inside_first`` the top k are chosen among the priors inside the gt alone, as in
    YOLOv6 and YOLOv8 (MMYOLO's BatchTaskAlignedAssigner); and a prior that several gts
    take goes to the gt of the image with the largest IoU, whether it asked for the prior
    or not. Priors of alignment 0 are never positive; that implementation may take some
    that tie at 0 when a gt has fewer than k others, with a class target of 0.

    Ties of t across the cut go to the lower priors.

    In plain loops: :func:`registry_losses.testing.reference.assigners.task_aligned`.

    Args:
        topk: Priors that a gt takes at most.
        alpha: Exponent of the score.
        beta: Exponent of the IoU.
        inside_first: See above.
        use_ciou: Measure boxes by complete IoU, floored at 0 (YOLOv8).
        min_positives: The least number of positives a gt gets, if need be of its nearest
            free priors (:func:`.matching.least_positives.fill_up`).
        min_gt_size: Pixels; the sides of a gt count as at least so long where priors inside
            it are looked for, so that a small gt finds some.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Example:
        >>> assigner = TaskAlignedAssigner(topk=13)
    """

    needs = frozenset({'predictions'})
    returns_sorted = True

    def __init__(
        self,
        topk: int = 13,
        *,
        alpha: float = 1.0,
        beta: float = 6.0,
        inside_first: bool = False,
        use_ciou: bool = False,
        min_positives: int = 0,
        min_gt_size: float = 0.0,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        if topk < 1:
            raise ConfigError(f'topk: expected >= 1, got {topk}')
        check_small(min_positives, min_gt_size)
        self.topk = topk
        self.min_positives = min_positives
        self.min_gt_size = min_gt_size
        self.alpha = alpha
        self.beta = beta
        self.inside_first = inside_first
        self.use_ciou = use_ciou
        self.eps = ALIGNMENT_EPS

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        assert predictions is not None
        b, n = gt.batch_size, priors.num_priors
        if gt.max_gts == 0 or n == 0:
            return Assignment.empty(b, n, priors.device)
        reader = PairReader(priors, gt, predictions)
        claimed = self._claims_inside(reader) if self.inside_first else self._claims(reader)
        pairs = self._one_gt_a_prior(reader, claimed)
        if self.min_positives:
            pairs = fill_up(reader, pairs, self.min_positives)
            pairs = pairs.at(order_of(pairs.flat_index))
        overlaps = self._overlaps(reader, pairs)
        t = alignment(reader.scores(pairs), overlaps, self.alpha, self.beta)
        quality = normalized_alignment(t, overlaps, pairs.gt_at, b * gt.max_gts, self.eps)
        return Assignment(
            pairs.image,
            pairs.prior,
            pairs.gt,
            torch.zeros(b, n, dtype=torch.bool, device=priors.device),
            quality=quality.clamp(TINY_QUALITY, 1),
            one_to_one=True,
        )

    def _mode(self) -> OverlapMode:
        return 'ciou' if self.use_ciou else 'iou'

    def _overlaps(self, reader: PairReader, pairs: Pairs) -> Tensor:
        boxes, gts = reader.boxes(pairs), reader.gt_boxes(pairs)
        return bbox_overlaps(boxes, gts, mode=self._mode(), is_aligned=True).clamp(min=0)

    def _overlaps_of_all_gts(self, reader: PairReader, image: Tensor, prior: Tensor) -> Tensor:
        """``(K, M)`` overlaps of some priors' boxes with every gt of their image."""
        columns = reader.columns(image, prior)
        return self._overlaps(reader, columns).view(-1, reader.gt.max_gts)

    def _claims(self, reader: PairReader) -> Pairs:
        """The best of all priors, of which those inside stay."""
        gt, predictions = reader.gt, reader.predictions
        blocks = overlapping_blocks(predictions.boxes, gt, reader.priors.valid, self._mode())
        parts = [self._promising(reader, block) for block in blocks]
        if not parts:
            return reader.no_pairs()
        gt_at, prior, bound = (torch.cat(part) for part in zip(*parts))
        image = torch.div(gt_at, gt.max_gts, rounding_mode='floor')
        pairs = reader.pairs(image, gt_at - image * gt.max_gts, prior)
        t = (power(reader.scores(pairs), self.alpha) * bound).nan_to_num(nan=0.0)
        counts = count_of(gt_at, gt.batch_size * gt.max_gts)
        index, exists = segment_topk(t, counts, self.topk)
        if t.numel():
            exists &= t[index] > 0
        pairs = pairs.at(index[exists])
        points, boxes = reader.points(pairs), reader.gt_boxes(pairs)
        region = box_of_at_least(self.min_gt_size)
        boxes = torch.cat(region(boxes, points, points), dim=-1)
        return pairs.at(centers_inside(points, boxes, margin=INSIDE_MARGIN))

    def _promising(self, reader: PairReader, block: OverlapBlock) -> tuple[Tensor, Tensor, Tensor]:
        """``(T,)`` gt, counted over the batch, prior and power of the overlap of some pairs.

        The best ``topk`` of all priors are among them for every gt of the block. A score
        is at most 1, so that the power of the overlap is a bound on the alignment.
        """
        gt_at = block.image * reader.gt.max_gts + block.gt
        enough = self._reached(reader, block).clamp(min=_LEAST)  # (G,)
        bound = power(block.peaks, self.beta)
        some = bound >= enough.index_select(0, block.row)
        run = some.nonzero().squeeze(1)
        row = block.row.index_select(0, run)
        overlaps = block.overlaps.index_select(0, run)  # (P', S)
        bound = power(overlaps, self.beta)
        some = bound >= enough.index_select(0, row)[:, None]
        at = some.reshape(-1).nonzero().squeeze(1)
        run_of = torch.div(at, RUN_LENGTH, rounding_mode='floor')
        prior = block.first_prior.index_select(0, run).index_select(0, run_of)
        prior += at - run_of * RUN_LENGTH
        gt_at = gt_at.index_select(0, row.index_select(0, run_of))
        return gt_at, prior, bound.reshape(-1).index_select(0, at)

    def _reached(self, reader: PairReader, block: OverlapBlock) -> Tensor:
        """``(G,)`` an alignment that ``topk`` priors of a gt reach; 0 if not so many are seen.

        Looks at the best priors of the runs with the largest overlaps, some more than
        needed so that one bad score does not spoil the bound.
        """
        looked_at = min(2 * self.topk, GROUPS)
        if block.row.shape[0] == 0 or self.topk > looked_at:
            return block.overlaps.new_zeros(block.counts.shape[0])
        run, peak = block.best_runs(looked_at)  # (G, j)
        best, column = block.overlaps.index_select(0, run.reshape(-1)).max(dim=1)
        prior = block.first_prior.index_select(0, run.reshape(-1)) + column
        image, gt = (v.repeat_interleave(looked_at) for v in (block.image, block.gt))
        scores = reader.scores(reader.pairs(image, gt, prior))
        t = alignment(scores, best, self.alpha, self.beta).nan_to_num(nan=0.0)
        t = t.view_as(peak) * (peak > 0)
        # Slightly less: the power of a number may round differently from call to call.
        return t.topk(self.topk, dim=1).values[:, -1] * (1 - 1e-6)

    def _claims_inside(self, reader: PairReader) -> Pairs:
        """The best of the priors inside."""
        parts = []
        rows = gt_rows(reader.gt)
        region = box_of_at_least(self.min_gt_size)
        for _, found in candidate_blocks(reader.priors, rows, reader.gt, region):
            pairs = reader.pairs_of(found)
            t = alignment(
                reader.scores(pairs), self._overlaps(reader, pairs), self.alpha, self.beta
            ).nan_to_num(nan=0.0)
            index, exists = segment_topk(t, found.counts, self.topk)
            if t.numel():
                exists &= t[index] > 0
            parts.append(pairs.at(index[exists]))
        return Pairs.cat(parts) if parts else reader.no_pairs()

    def _one_gt_a_prior(self, reader: PairReader, claims: Pairs) -> Pairs:
        """One gt a prior, priors ascending."""
        num_flat = reader.gt.batch_size * reader.priors.num_priors
        if not self.inside_first:
            flat_index, gt = winners(
                claims.flat_index, self._overlaps(reader, claims), claims.gt_at, num_flat
            )
            return reader.pairs_at(gt, flat_index)
        count = count_of(claims.flat_index, num_flat)
        shared = (count > 1).nonzero().squeeze(1)  # sync: priors in conflict
        if shared.numel():
            n = reader.priors.num_priors
            image, prior = shared // n, shared % n
            winner = best_of_all_gts(
                image, prior, reader.gt, lambda i, p: self._overlaps_of_all_gts(reader, i, p)
            )
            single = claims.at(count.index_select(0, claims.flat_index) == 1)
            claims = Pairs.cat([single, reader.pairs(image, winner, prior)])
        return claims.at(order_of(claims.flat_index))

    def assign(
        self,
        pred_instances: Any,
        gt_instances: Any,
        gt_instances_ignore: Any = None,
        alpha: float | None = None,
        beta: float | None = None,
        **kwargs: Any,
    ) -> TaskAlignedResult:
        """OpenMMLab's form, where the head may pass the exponents."""
        own = self.alpha, self.beta
        self.alpha = own[0] if alpha is None else alpha
        self.beta = own[1] if beta is None else beta
        try:
            result = super().assign(pred_instances, gt_instances, gt_instances_ignore, **kwargs)
            metrics = self._metrics(result, pred_instances, gt_instances)
        finally:
            self.alpha, self.beta = own
        return TaskAlignedResult(**vars(result), assign_metrics=metrics)

    def _metrics(self, result: AssignResult, pred_instances: Any, gt_instances: Any) -> Tensor:
        positive = (result.gt_inds > 0).nonzero().squeeze(1)
        gt = result.gt_inds[positive] - 1
        scores = pred_instances.scores[positive, gt_instances.labels.long()[gt]].float()
        boxes, gt_boxes = (
            getattr(b, 'tensor', b).reshape(-1, 4)
            for b in (pred_instances.bboxes, gt_instances.bboxes)
        )
        overlaps = bbox_overlaps(boxes[positive], gt_boxes[gt], mode=self._mode(), is_aligned=True)
        metrics = scores.new_zeros(result.gt_inds.shape[0])
        metrics[positive] = alignment(scores, overlaps.clamp(min=0), self.alpha, self.beta)
        return metrics

    def _max_overlaps(
        self,
        pairs: Assignment,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
    ) -> Tensor:
        # The reference implementation leaves -INF, its 1e8, at unmatched priors.
        assert predictions is not None
        out = predictions.boxes.new_full((priors.num_priors,), -1e8 if gt.max_gts else 0)
        matched = predictions.boxes[0, pairs.prior]
        out[pairs.prior] = bbox_overlaps(matched, gt.boxes[0, pairs.gt], is_aligned=True)
        return out
