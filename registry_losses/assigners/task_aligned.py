"""TaskAlignedAssigner: positives by how well class score and box agree.

Shapes: B images, N slots, M gts, T pairs claimed, C classes, k best slots a gt.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.iou import OverlapMode, bbox_overlaps
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .bridge import AssignResult
from .centers import candidate_blocks, count_of, inside_box
from .common import block_elements, centers_inside, gt_rows, resolve_conflicts, segment_topk
from .overlapping import RUN_LENGTH, OverlapBlock, overlapping_blocks
from .pairs import TINY_QUALITY, PairReader, Pairs

# Keeps the normalisation of a gt's alignments from dividing by 0.
ALIGNMENT_EPS = 1e-7
# How far inside its gt a slot's centre must lie, in pixels, after the choice by alignment.
INSIDE_MARGIN = 0.01


def power(values: Tensor, exponent: float) -> Tensor:
    """``values ** exponent``; small whole exponents by multiplying, which is much faster."""
    if exponent == 1:
        return values
    if exponent != int(exponent) or not 0 < exponent <= 8:
        return values.pow(exponent)
    half = power(values * values, exponent // 2) if exponent >= 2 else None
    if half is None:
        return values
    return half * values if exponent % 2 else half


def alignment(scores: Tensor, overlaps: Tensor, alpha: float, beta: float) -> Tensor:
    """``t = s^alpha u^beta``, Feng et al. 2021, equation 2."""
    return power(scores, alpha) * power(overlaps, beta)


def normalized_alignment(
    alignments: Tensor, overlaps: Tensor, gt_at: Tensor, num_gts: int, eps: float = ALIGNMENT_EPS
) -> Tensor:
    """``(K,)`` class target: each gt's alignments scaled so that the largest is its best IoU.

    Feng et al. 2021, section 3.3 (the normalised t).

    Args:
        alignments: ``(K,)`` t of each pair.
        overlaps: ``(K,)`` IoU of each pair.
        gt_at: ``(K,)`` int64, the gt counted over the batch.
        num_gts: ``B * M``.
        eps: Keeps the division from 0.
    """
    best_t = alignments.new_zeros(num_gts).scatter_reduce_(0, gt_at, alignments, 'amax')
    best_u = overlaps.new_zeros(num_gts).scatter_reduce_(0, gt_at, overlaps, 'amax')
    return alignments * best_u[gt_at] / (best_t[gt_at] + eps)


@dataclass
class TaskAlignedResult(AssignResult):
    """OpenMMLab's result of this assigner.

    Args:
        assign_metrics: ``(n,)`` alignment of each positive slot with its gt, 0 elsewhere.
    """

    assign_metrics: Tensor | None = None


@TASK_UTILS.register_module()
class TaskAlignedAssigner(BaseAssigner):
    """Each gt takes the slots whose class score and box together serve it best.

    The alignment of a pair is ``t = s^alpha u^beta``, s the score of the gt's class and u
    the IoU of the predicted box. A gt's ``topk`` slots of the largest t above 0 become
    positive if their centre lies inside the gt. A slot that several gts take goes to the
    one with the larger IoU; of equal ones, to the first. The quality of a pair, TOOD's
    class target, is t scaled so that a gt's largest is its largest IoU.

    Feng et al., TOOD: Task-aligned One-stage Object Detection, ICCV 2021, section 3.3.

    With ``inside_first`` the top k are chosen among the slots inside the gt alone, as in
    YOLOv6 and YOLOv8 (MMYOLO's BatchTaskAlignedAssigner); and a slot that several gts
    take goes to the gt of the image with the largest IoU, whether it asked for the slot
    or not. Slots of alignment 0 are never positive; that implementation may take some
    that tie at 0 when a gt has fewer than k others, with a class target of 0.

    Ties of t across the cut go to the lower slots.

    Args:
        topk: Slots a gt takes at most.
        alpha: Exponent of the score.
        beta: Exponent of the IoU.
        inside_first: See above.
        use_ciou: Measure boxes by complete IoU, floored at 0 (YOLOv8).
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Example:
        >>> assigner = TaskAlignedAssigner(topk=13)
    """

    needs = frozenset({'predictions'})

    def __init__(
        self,
        topk: int = 13,
        *,
        alpha: float = 1.0,
        beta: float = 6.0,
        inside_first: bool = False,
        use_ciou: bool = False,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        if topk < 1:
            raise ConfigError(f'topk: expected >= 1, got {topk}')
        self.topk = topk
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
        pairs = self._one_gt_a_slot(reader, claimed)
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

    def _claims(self, reader: PairReader) -> Pairs:
        """The best of all slots, of which those inside stay."""
        gt, predictions = reader.gt, reader.predictions
        blocks = overlapping_blocks(predictions.boxes, gt, reader.priors.valid, self._mode())
        parts = [self._best_of_block(reader, block) for block in blocks]
        if not parts:
            return reader.no_pairs()
        pairs = Pairs.cat(parts)
        inside = centers_inside(reader.points(pairs), reader.gt_boxes(pairs), margin=INSIDE_MARGIN)
        return pairs.at(inside)

    def _best_of_block(self, reader: PairReader, block: OverlapBlock) -> Pairs:
        """The best of all slots of some gts."""
        enough = self._reached(reader, block)  # (G,)
        # A score is at most 1, so the power of the overlap bounds the alignment.
        bound = power(block.peaks, self.beta)
        some = (block.peaks > 0) & (bound >= enough.index_select(0, block.row))
        run = some.nonzero().squeeze(1)
        row = block.row.index_select(0, run)
        overlaps = block.overlaps.index_select(0, run)  # (P', S)
        bound = power(overlaps, self.beta)
        some = (overlaps > 0) & (bound >= enough.index_select(0, row)[:, None])
        at = some.reshape(-1).nonzero().squeeze(1)
        run_of = torch.div(at, RUN_LENGTH, rounding_mode='floor')
        row = row.index_select(0, run_of)
        prior = block.first_slot.index_select(0, run).index_select(0, run_of)
        prior += at - run_of * RUN_LENGTH
        pairs = reader.pairs(block.image[row], block.gt[row], prior)
        t = power(reader.scores(pairs), self.alpha) * bound.reshape(-1).index_select(0, at)
        index, exists = segment_topk(t, count_of(row, block.counts.shape[0]), self.topk)
        if t.numel():
            exists &= t[index] > 0
        return pairs.at(index[exists])

    def _reached(self, reader: PairReader, block: OverlapBlock) -> Tensor:
        """``(G,)`` an alignment that ``topk`` slots of a gt reach; 0 if not so many are seen.

        Looks at the best slots of the runs with the largest overlaps, some more than
        needed so that one bad score does not spoil the bound.
        """
        reached = block.overlaps.new_zeros(block.counts.shape[0])
        for rows, runs, overlaps in block.best_runs(2 * self.topk):
            if runs.shape[1] < self.topk:
                continue
            best, column = overlaps.max(dim=2)  # (g, j), 0 where there is no run
            run = runs.clamp(max=block.row.shape[0] - 1).reshape(-1)
            prior = block.first_slot.index_select(0, run) + column.reshape(-1)
            row = rows.repeat_interleave(runs.shape[1])
            pairs = reader.pairs(block.image[row], block.gt[row], prior)
            t = alignment(reader.scores(pairs).view_as(best), best, self.alpha, self.beta)
            reached[rows] = t.topk(self.topk, dim=1).values.amin(dim=1)
        return reached

    def _claims_inside(self, reader: PairReader) -> Pairs:
        """The best of the slots inside."""
        parts = []
        rows = gt_rows(reader.gt)
        for _, found in candidate_blocks(reader.priors, rows, reader.gt, inside_box):
            pairs = reader.pairs(found.image, found.gt, found.prior)
            t = alignment(
                reader.scores(pairs), self._overlaps(reader, pairs), self.alpha, self.beta
            )
            index, exists = segment_topk(t, found.counts, self.topk)
            if t.numel():
                exists &= t[index] > 0
            parts.append(pairs.at(index[exists]))
        return Pairs.cat(parts) if parts else reader.no_pairs()

    def _one_gt_a_slot(self, reader: PairReader, claims: Pairs) -> Pairs:
        num_slots = reader.gt.batch_size * reader.priors.num_priors
        if not self.inside_first:
            overlaps = self._overlaps(reader, claims)
            return claims.at(resolve_conflicts(claims.slot, overlaps, claims.gt, num_slots))
        count = count_of(claims.slot, num_slots)
        shared = (count > 1).nonzero().squeeze(1)  # sync: slots in conflict
        if shared.numel() == 0:
            return claims
        single = claims.at(count.index_select(0, claims.slot) == 1)
        n, m = reader.priors.num_priors, reader.gt.max_gts
        image, prior, winner = shared // n, shared % n, torch.empty_like(shared)
        step = max(2 * block_elements(image.device) // m, 1)
        for start in range(0, shared.shape[0], step):
            part = slice(start, start + step)
            overlaps = self._overlaps(reader, reader.columns(image[part], prior[part])).view(-1, m)
            overlaps = torch.where(reader.gt.valid[image[part]], overlaps, -1)
            winner[part] = overlaps.argmax(dim=1)
        return Pairs.cat([single, reader.pairs(image, winner, prior)])

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
        scores = pred_instances.scores[positive, gt_instances.labels[gt]].float()
        boxes, gt_boxes = (
            getattr(b, 'tensor', b) for b in (pred_instances.bboxes, gt_instances.bboxes)
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
        # The reference implementation leaves -INF, its 1e8, at unmatched slots.
        assert predictions is not None
        out = predictions.boxes.new_full((priors.num_priors,), -1e8 if gt.max_gts else 0)
        matched = predictions.boxes[0, pairs.prior]
        out[pairs.prior] = bbox_overlaps(matched, gt.boxes[0, pairs.gt], is_aligned=True)
        return out


@TASK_UTILS.register_module()
class BatchTaskAlignedAssigner(TaskAlignedAssigner):
    """:class:`TaskAlignedAssigner` under the name and with the arguments of MMYOLO.

    Its ``inside_first`` is True: YOLOv6's and YOLOv8's variant.
    Feng et al., TOOD, ICCV 2021, section 3.3; Li et al., YOLOv6, arXiv:2209.02976.

    Args:
        num_classes: Not needed here; read for the sake of MMYOLO's configs.
        topk: Slots a gt takes at most.
        alpha: Exponent of the score.
        beta: Exponent of the IoU.
        eps: Keeps the normalisation from dividing by 0.
        use_ciou: Measure boxes by complete IoU, floored at 0 (YOLOv8).
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        topk: int = 13,
        alpha: float = 1.0,
        beta: float = 6.0,
        eps: float = ALIGNMENT_EPS,
        use_ciou: bool = False,
        *,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(
            topk,
            alpha=alpha,
            beta=beta,
            inside_first=True,
            use_ciou=use_ciou,
            ignore_iof_thr=ignore_iof_thr,
            ignore_wrt_candidates=ignore_wrt_candidates,
        )
        self.eps = eps
