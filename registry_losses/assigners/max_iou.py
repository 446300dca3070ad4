"""MaxIoUAssigner: positives by thresholds on the IoU of prior and gt.

Shapes: B images, N slots, M gts, K pairs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.iou import bbox_overlaps
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .common import batched_boxes, nearest_priors, prior_chunks


@dataclass(frozen=True)
class MaxIoURule:
    """The thresholds; see :class:`MaxIoUAssigner`."""

    pos_thr: float
    neg_low: float
    neg_high: float
    min_pos: float
    assign_all: bool
    low_quality: bool


@TASK_UTILS.register_module()
class MaxIoUAssigner(BaseAssigner):
    """Each slot to the gt it overlaps most, each gt to its best slot.

    With ``m(n) = max over gts of IoU(n, gt)``:

    * ``m >= pos_iou_thr``: positive for the gt of the maximum, of equal ones the first;
    * ``neg_low <= m < neg_high``: negative;
    * else ignored;
    * then every gt whose own maximum over the slots is at least ``min_pos_iou`` takes
      its best slot (all slots of exactly that IoU with ``gt_max_assign_all``, else the
      first), whatever it was before; where several gts take a slot the last stays.

    Ren et al., Faster R-CNN, arXiv:1506.01497, section 3.1.2, as OpenMMLab generalises it.

    Deviation: a gt that overlaps no slot at all (IoU 0 with every one) has the maximum 0,
    and with ``min_pos_iou=0`` OpenMMLab's rule makes every slot that does not overlap it
    positive. Here such a gt takes the one slot whose centre is nearest. And ignore
    regions hold in images without gts too.

    On a regular grid the overlapping slots are enumerated, not searched; the outcome is
    the same to the bit. Other priors are streamed in chunks.

    Args:
        pos_iou_thr: Least IoU of a positive.
        neg_iou_thr: IoU below which a slot is negative, or the range (low, high) in
            which it is.
        min_pos_iou: Least IoU at which a gt takes its best slot.
        gt_max_assign_all: Whether all slots that tie for a gt's best are taken.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.
        match_low_quality: Whether gts take their best slots at all.
        gpu_assign_thr: Accepted for OpenMMLab's configs; nothing here needs the host.
        iou_calculator: Accepted for OpenMMLab's configs: ``BboxOverlaps2D`` or None.
    """

    returns_sorted = True

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
        match_low_quality: bool = True,
        gpu_assign_thr: float = -1,
        iou_calculator: dict | None = None,
    ) -> None:
        super().__init__(
            ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates
        )
        if iou_calculator is not None and iou_calculator.get('type') not in (
            'BboxOverlaps2D',
            'mmdet.BboxOverlaps2D',
        ):
            raise ConfigError(f'iou_calculator: only BboxOverlaps2D, got {iou_calculator}')
        if isinstance(neg_iou_thr, (tuple, list)):
            neg_low, neg_high = (float(x) for x in neg_iou_thr)
        else:
            neg_low, neg_high = 0.0, float(neg_iou_thr)
        if not neg_low <= neg_high <= pos_iou_thr:
            raise ConfigError(
                f'expected neg_iou_thr <= pos_iou_thr, got {neg_iou_thr} and {pos_iou_thr}'
            )
        self.rule = MaxIoURule(
            float(pos_iou_thr),
            neg_low,
            neg_high,
            float(min_pos_iou),
            gt_max_assign_all,
            match_low_quality,
        )

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        if priors.num_priors == 0 or gt.max_gts == 0:
            empty = Assignment.empty(gt.batch_size, priors.num_priors, priors.device)
            ignored = empty.ignored.fill_(self.rule.neg_low > 0)
            return empty.replace(ignored=ignored & gt.valid.any(dim=1, keepdim=True))
        return match_streamed(priors, gt, self.rule)

    def _max_overlaps(
        self,
        pairs: Assignment,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
    ) -> Tensor | None:
        overlaps = super()._max_overlaps(pairs, priors, gt, predictions)
        region = self._ignore_region(priors, gt)
        if region is not None and overlaps is not None and gt.max_gts:
            overlaps[region[0]] = -1
        return overlaps


def match_streamed(priors: Priors, gt: GroundTruth, rule: MaxIoURule) -> Assignment:
    """The rule over any priors, chunk by chunk; never an N x M matrix."""
    b, n, m = gt.batch_size, priors.num_priors, gt.max_gts
    best = gt.boxes.new_full((b, n), -1)
    gt_of_slot = torch.full((b, n), -1, dtype=torch.long, device=gt.device)
    gt_best = gt.boxes.new_full((b, m), -1)
    gt_first = torch.zeros_like(gt.labels)
    column = torch.arange(m, device=gt.device)
    for part in prior_chunks(priors, m, b):
        iou = _masked_iou(priors, gt, part)
        value = iou.amax(dim=2)
        first = torch.where(iou == value[..., None], column, m).amin(dim=2)
        best[:, part] = value
        gt_of_slot[:, part] = torch.where(value >= max(rule.pos_thr, 0), first, -1)
        value = iou.amax(dim=1)  # (B, M)
        row = torch.arange(part.start, part.stop, device=gt.device)[None, :, None]
        first = torch.where(iou == value[:, None], row, n).amin(dim=1)
        gt_first = torch.where(value > gt_best, first, gt_first)
        gt_best = torch.maximum(gt_best, value)
    if rule.low_quality:
        claim = _low_quality_claims(priors, gt, rule, gt_best, gt_first)
        gt_of_slot = torch.where(claim >= 0, claim, gt_of_slot)
    # An image without gts: every slot is negative.
    best = torch.where(gt.valid.any(dim=1, keepdim=True), best, 0 * best + rule.neg_low)
    ignored = ~((best >= rule.neg_low) & (best < rule.neg_high))
    image, prior = (gt_of_slot >= 0).nonzero(as_tuple=True)  # sync: compact pairs
    return Assignment(image, prior, gt_of_slot[image, prior], ignored, one_to_one=True)


def _masked_iou(priors: Priors, gt: GroundTruth, part: slice) -> Tensor:
    """``(B, n, M)``, -1 where the slot is no candidate or the gt is not valid."""
    iou = bbox_overlaps(batched_boxes(priors, gt.batch_size, part), gt.boxes)
    keep = gt.valid[:, None]
    if priors.valid is not None:
        keep = keep & priors.valid[:, part, None]
    return torch.where(keep, iou, -1)


def _low_quality_claims(
    priors: Priors, gt: GroundTruth, rule: MaxIoURule, gt_best: Tensor, gt_first: Tensor
) -> Tensor:
    """``(B, N)`` the last gt that takes a slot as its best, -1 for none."""
    b, n, m = gt.batch_size, priors.num_priors, gt.max_gts
    column = torch.arange(m, device=gt.device).expand(b, m)
    takes = gt.valid & (gt_best >= max(rule.min_pos, 0))
    apart = takes & (gt_best == 0)
    claim = torch.full((b, n), -1, dtype=torch.long, device=gt.device)
    if rule.assign_all:
        target = torch.where(takes & ~apart, gt_best, 2)[:, None]
        for part in prior_chunks(priors, m, b):
            hit = _masked_iou(priors, gt, part) == target
            claim[:, part] = torch.where(hit, column[:, None], -1).amax(dim=2)
    else:
        value = torch.where(takes & ~apart, column, -1)
        claim.scatter_reduce_(1, gt_first, value, 'amax')
    image, index = apart.nonzero(as_tuple=True)  # sync: gts that overlap nothing
    if image.numel():
        prior = nearest_priors(priors, image, gt.boxes[image, index])
        claim.view(-1).scatter_reduce_(0, image * n + prior, index, 'amax')
    return claim
