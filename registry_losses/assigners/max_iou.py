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
from .common import (
    GtRows,
    batched_boxes,
    check_iou_calculator,
    gt_rows,
    nearest_priors,
    prior_chunks,
)
from .grid import (
    AREA_MARGIN,
    block_elements,
    combinations,
    enumerate_cells,
    nearest_slots,
    overlap_windows,
)


@dataclass(frozen=True)
class MaxIoURule:
    """The thresholds; see :class:`MaxIoUAssigner`."""

    pos_thr: float
    neg_low: float
    neg_high: float
    min_pos: float
    assign_all: bool
    low_quality: bool

    @property
    def least(self) -> float:
        """IoU below which all slots that no gt takes are alike."""
        return self.neg_low if self.neg_low > 0 else self.neg_high


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
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        check_iou_calculator(iou_calculator)
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
        if priors.levels and not priors.per_image and self.rule.least > 0:
            return match_grid(priors, gt, self.rule)
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
    apart = gt.valid & (gt_best <= 0) & (rule.min_pos <= 0)
    takes = gt.valid & (gt_best > 0) & (gt_best >= rule.min_pos)
    claim = torch.full((b, n), -1, dtype=torch.long, device=gt.device)
    if rule.assign_all:
        target = torch.where(takes, gt_best, 2)[:, None]
        for part in prior_chunks(priors, m, b):
            hit = _masked_iou(priors, gt, part) == target
            claim[:, part] = torch.where(hit, column[:, None], -1).amax(dim=2)
    else:
        value = torch.where(takes, column, -1)
        claim.scatter_reduce_(1, gt_first, value, 'amax')
    image, index = apart.nonzero(as_tuple=True)  # sync: gts that overlap nothing
    if image.numel():
        prior, found = nearest_priors(priors, image, gt.boxes[image, index])
        index = torch.where(found, index, -1)
        claim.view(-1).scatter_reduce_(0, image * n + prior, index, 'amax')
    return claim


# Above the bits of any IoU: a gt that takes a slot outranks every threshold.
_TAKEN = 1 << 62


def match_grid(priors: Priors, gt: GroundTruth, rule: MaxIoURule) -> Assignment:
    """The rule over priors on a grid, at the cost of the gts instead of the slots.

    Enumerates the slots whose IoU with a gt reaches ``rule.least``, or, for a gt that
    reaches less with the nearest slot of every base size, whatever comes up to that;
    the same float32 operations as :func:`match_streamed` then give the same answer.
    """
    b, n = gt.batch_size, priors.num_priors
    rows = gt_rows(gt)
    row, prior, iou, doubtful = _grid_overlaps(priors, rows, rule)
    slot = rows.image.index_select(0, row) * n + prior
    index = rows.index.index_select(0, row)
    ignored = _grid_ignored(gt, rule, slot, iou, n)
    bits = iou.view(torch.int32).long()
    strength = torch.where(iou >= rule.pos_thr, (bits << 32) | (0x7FFFFFFF - index), 0)
    if rule.low_quality:
        takes, apart = _grid_claims(priors, rows, rule, row, prior, iou)
        strength = torch.where(takes, index + _TAKEN, strength)
        if doubtful:
            lone = apart.nonzero().squeeze(1)  # sync: gts that overlap nothing
            near, found = nearest_priors(priors, rows.image[lone], rows.boxes[lone])
            slot = torch.cat((slot, rows.image[lone] * n + near))
            index = torch.cat((index, rows.index[lone]))
            strength = torch.cat((strength, torch.where(found, rows.index[lone] + _TAKEN, 0)))
    best = strength.new_zeros(b * n).scatter_reduce_(0, slot, strength, 'amax')
    wins = (strength > 0) & (best.index_select(0, slot) == strength)
    pair = wins.nonzero().squeeze(1)  # sync: compact pairs
    slot, order = torch.sort(slot.index_select(0, pair))
    index = index.index_select(0, pair).index_select(0, order)
    image = torch.div(slot, n, rounding_mode='floor')
    return Assignment(image, slot - image * n, index, ignored, one_to_one=True)


def _grid_overlaps(
    priors: Priors, rows: GtRows, rule: MaxIoURule
) -> tuple[Tensor, Tensor, Tensor, int]:
    """``(T,)`` gt row, slot and IoU, and how many gts' nearest slots do not overlap them."""
    grid = combinations(priors.levels, priors.device)
    step = max(block_elements(priors.device) // max(grid.first.shape[0], 1), 1)
    parts, doubtful = [], 0
    for start in range(0, rows.num_rows, step):
        block = rows.part(slice(start, start + step))
        floor = _iou_floor(priors, block, rule)
        size = block.boxes[:, 2:] - block.boxes[:, :2]
        share = (floor / (1 + floor))[:, None]  # inter / (area + area) at IoU = floor
        least = share * ((size[:, 0] * size[:, 1])[:, None] + grid.area)
        windows = overlap_windows(priors, block.boxes, least)
        counts = torch.stack((windows.count.sum(), (floor == 0).sum()))
        total, lost = counts.tolist()  # sync: enumerate candidates
        doubtful += lost
        for row, prior in enumerate_cells(windows, total):
            iou = _candidate_iou(priors, block, row, prior)
            if iou.device.type == 'cpu':  # elsewhere counting would wait for the device
                keep = (iou >= floor.index_select(0, row)).nonzero().squeeze(1)
                row, prior, iou = (x.index_select(0, keep) for x in (row, prior, iou))
            parts.append((row + start, prior, iou))
    if not parts:
        none = torch.zeros(0, dtype=torch.long, device=priors.device)
        return none, none, none.float(), doubtful
    row, prior, iou = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts))
    return row, prior, iou, doubtful


def _candidate_iou(priors: Priors, rows: GtRows, row: Tensor, prior: Tensor) -> Tensor:
    """``(T,)`` IoU of a slot and a gt, -1 where the slot is no candidate."""
    iou = bbox_overlaps(
        priors.boxes.index_select(0, prior), rows.boxes.index_select(0, row), is_aligned=True
    )
    if priors.valid is not None:
        slot = rows.image.index_select(0, row) * priors.num_priors + prior
        iou = torch.where(priors.valid.reshape(-1).index_select(0, slot), iou, -1)
    return iou


def _iou_floor(priors: Priors, rows: GtRows, rule: MaxIoURule) -> Tensor:
    """``(G,)`` least IoU that can matter to a gt; infinite where the gt is not valid.

    A gt's best slot is about as good as the best of those nearest to its centre, one
    for each level and base size. Where none of them overlaps it, 0: anything may.
    """
    floor = torch.where(rows.valid, rule.least, torch.inf)
    if not rule.low_quality:
        return floor
    slots = nearest_slots(priors, rows.centers)  # (G, C)
    g, c = slots.shape
    row = torch.arange(g, device=slots.device).repeat_interleave(c, output_size=g * c)
    iou = _candidate_iou(priors, rows, row, slots.reshape(-1)).reshape(g, c)
    best = iou.amax(dim=1)
    best = torch.where(best > 0, best * (1 - AREA_MARGIN), 0)
    return torch.where(rows.valid, torch.minimum(best, floor), floor)


def _grid_ignored(
    gt: GroundTruth, rule: MaxIoURule, slot: Tensor, iou: Tensor, num_priors: int
) -> Tensor:
    """``(B, N)`` bool; slots without a candidate have a maximum below ``rule.least``."""
    b, total = gt.batch_size, gt.batch_size * num_priors
    # One slot more, where what does not count is written.
    ignored = torch.zeros(total + 1, dtype=torch.bool, device=slot.device)
    if rule.neg_low > 0:
        ignored[:-1].view(b, num_priors)[:] = gt.valid.any(dim=1, keepdim=True)
        ignored.index_fill_(0, torch.where(iou >= rule.neg_low, slot, total), False)
    ignored.index_fill_(0, torch.where(iou >= rule.neg_high, slot, total), True)
    return ignored[:-1].view(b, num_priors)


def _grid_claims(
    priors: Priors, rows: GtRows, rule: MaxIoURule, row: Tensor, prior: Tensor, iou: Tensor
) -> tuple[Tensor, Tensor]:
    """``(T,)`` bool, slots that a gt takes as its best; ``(G,)`` bool, gts without one."""
    best = iou.new_full((rows.num_rows,), -1).scatter_reduce_(0, row, iou, 'amax')
    takes = rows.valid & (best > 0) & (best >= rule.min_pos)
    claim = (iou == best.index_select(0, row)) & takes.index_select(0, row)
    if not rule.assign_all:
        n = priors.num_priors
        first = prior.new_full((rows.num_rows,), n)
        first.scatter_reduce_(0, row, torch.where(claim, prior, n), 'amin')
        claim &= prior == first.index_select(0, row)
    return claim, rows.valid & (best <= 0) & (rule.min_pos <= 0)
