"""Max IoU: positives and negatives by thresholds on the IoU of prior and gt (Faster R-CNN).

Shapes: B images, N priors, M gts, K pairs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from ..structures.assignment import order_of
from .base import BaseAssigner
from .candidates.gt_rows import GtRows, gt_rows
from .candidates.prior_blocks import nearest_priors
from .candidates.prior_overlaps import UNKNOWN, Overlaps, find_overlaps
from .conflicts import resolve_with_overrides
from .openmmlab import check_iou_calculator, negative_range


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
        """IoU below which every prior that is no gt's best is treated in the same way."""
        return next(thr for thr in (self.neg_low, self.neg_high, self.pos_thr) if thr > 0)


@TASK_UTILS.register_module()
class MaxIoUAssigner(BaseAssigner):
    """Each prior goes to the gt it overlaps most, if by enough; each gt takes its best prior.

    With ``m(n) = max over gts of IoU(n, gt)``:

    * ``m >= pos_iou_thr``: positive for the gt of the maximum, of equal ones the first;
    * ``neg_low <= m < neg_high``: negative;
    * else ignored;
    * then every gt whose own maximum over the priors is at least ``min_pos_iou`` takes
      its best prior (all priors of exactly that IoU with ``gt_max_assign_all``, else the
      first), whatever that prior was before; of several gts the last one gets the prior.

    Ren et al., Faster R-CNN, arXiv:1506.01497, section 3.1.2, as OpenMMLab generalises it.

    Two deviations. The maximum of a gt that overlaps no prior is 0, and with
    ``min_pos_iou=0`` OpenMMLab's rule then makes every prior that does not overlap it
    positive; here such a gt takes the one prior whose centre is nearest. And ignore
    regions count in images without gts too.

    On a regular grid the overlapping priors are enumerated instead of comparing all priors
    with all gts; the result is the same to the bit. Bare boxes are compared in blocks.

    In plain loops: :func:`registry_losses.testing.reference.assigners.max_iou`.
    Made fast in ``candidates/``: ``prior_overlaps.py``, on the windows of ``grid.py``.

    Args:
        pos_iou_thr: Least IoU of a positive.
        neg_iou_thr: IoU below which a prior is negative, or the range (low, high) in
            which it is.
        min_pos_iou: Least IoU at which a gt takes its best prior.
        gt_max_assign_all: Whether all priors that tie for a gt's best are taken.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.
        match_low_quality: Whether gts take their best priors at all.
        gpu_assign_thr: Accepted for OpenMMLab's configs, and not needed: memory does not
            grow with the number of gts.
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
        negative = negative_range(neg_iou_thr)
        neg_low, neg_high = negative if isinstance(negative, tuple) else (0.0, negative)
        if not neg_low <= neg_high <= pos_iou_thr or pos_iou_thr <= 0:
            raise ConfigError(
                f'expected neg_iou_thr <= pos_iou_thr, over 0; got {neg_iou_thr} and {pos_iou_thr}'
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
        rule, b, n = self.rule, gt.batch_size, priors.num_priors
        rows = gt_rows(gt)
        if n == 0 or rows.num_rows == 0:
            return Assignment.empty(b, n, priors.device)
        found = self._overlaps(priors, gt, rows)
        flat_index = rows.image.index_select(0, found.row) * n + found.prior
        index = rows.index.index_select(0, found.row)
        ignored = _ignored(gt, rule, flat_index, found.iou, n)
        iou, takes = found.iou, None
        if rule.low_quality:
            takes, overlaps_nothing = _best_priors(rows, rule, found, n)
            if found.num_unmatched and rule.min_pos <= 0:
                row = torch.arange(rows.num_rows, device=flat_index.device)
                if found.num_unmatched != UNKNOWN:
                    row = overlaps_nothing.nonzero().squeeze(1)  # sync: where gts overlap nothing
                near, exists = nearest_priors(priors, rows.part(row))
                flat_index = torch.cat((flat_index, rows.image[row] * n + near))
                index = torch.cat((index, rows.index[row]))
                iou = torch.cat((iou, iou.new_zeros(row.shape[0])))
                takes = torch.cat((takes, exists & overlaps_nothing[row]))
        wins = resolve_with_overrides(
            flat_index, iou, index, b * n, claims=iou >= rule.pos_thr, overrides=takes
        )
        pair = wins.nonzero().squeeze(1)  # sync: compact pairs
        pair = pair.index_select(0, order_of(flat_index.index_select(0, pair)))
        flat_index, index = flat_index.index_select(0, pair), index.index_select(0, pair)
        image = torch.div(flat_index, n, rounding_mode='floor')
        return Assignment(image, flat_index - image * n, index, ignored, one_to_one=True)

    def _overlaps(self, priors: Priors, gt: GroundTruth, rows: GtRows) -> Overlaps:
        """The pairs of a gt and a prior whose IoU matters."""
        rule = self.rule
        return find_overlaps(priors, gt, rows, rule.least, best_too=rule.low_quality)

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


def _ignored(
    gt: GroundTruth, rule: MaxIoURule, flat_index: Tensor, iou: Tensor, num_priors: int
) -> Tensor:
    """``(B, N)`` bool; the maximum of a prior that was not found is below ``rule.least``."""
    b, total = gt.batch_size, gt.batch_size * num_priors
    # One prior more, where what does not count is written.
    ignored = torch.zeros(total + 1, dtype=torch.bool, device=flat_index.device)
    if rule.neg_low > 0 or rule.neg_high <= 0:
        ignored[:-1].view(b, num_priors)[:] = gt.valid.any(dim=1, keepdim=True)
        ignored.index_fill_(0, torch.where(iou >= rule.neg_low, flat_index, total), False)
    ignored.index_fill_(0, torch.where(iou >= rule.neg_high, flat_index, total), True)
    return ignored[:-1].view(b, num_priors)


def _best_priors(
    rows: GtRows, rule: MaxIoURule, found: Overlaps, num_priors: int
) -> tuple[Tensor, Tensor]:
    """``(T,)`` bool, priors that a gt takes as its best; ``(G,)`` bool, gts without one."""
    best = found.best(rows.num_rows)
    takes = rows.valid & (best > 0) & (best >= rule.min_pos)
    claim = takes.index_select(0, found.row)
    claim &= found.iou == best.index_select(0, found.row)
    if not rule.assign_all:
        first = found.prior.new_full((rows.num_rows,), num_priors)
        prior = torch.where(claim, found.prior, num_priors)
        first.scatter_reduce_(0, found.row, prior, 'amin')
        claim &= found.prior == first.index_select(0, found.row)
    return claim, rows.valid & (best <= 0) & (rule.min_pos <= 0)
