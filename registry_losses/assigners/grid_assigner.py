"""Grid: max IoU, with positives only in the cells that hold a gt's centre (YOLOv3 in mmdet).

Shapes: B images, N priors, M gts, G gts of the batch, T pairs.
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, PairingError
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.grid import center_priors
from .candidates.gt_rows import GtRows, gt_rows
from .candidates.prior_overlaps import find_overlaps
from .conflicts import resolve_with_overrides
from .openmmlab import AssignResult, check_iou_calculator, max_overlaps, negative_range


@TASK_UTILS.register_module()
class GridAssigner(BaseAssigner):
    """As :class:`MaxIoUAssigner`, but only cells that hold a gt's centre have positives.

    A prior is responsible when its cell holds the centre of any gt of the image. With
    ``m(n)`` the largest IoU of prior n with any gt:

    * ``m <= neg_iou_thr``: negative (``low < m <= high`` with a range); else ignored;
    * responsible and ``m > pos_iou_thr``: positive for the gt of the maximum, of equal
      ones the first;
    * every gt whose largest IoU among the responsible priors is over ``min_pos_iou``
      takes the responsible prior (all of them that tie with ``gt_max_assign_all``, else
      the first) of that IoU; of several gts the last one gets the prior.

    OpenMMLab's assigner of YOLOv3: Redmon and Farhadi, arXiv:1804.02767, section 2.1,
    with thresholds.

    A centre on the right or lower border of the grid, or beyond, belongs to the last
    cell. :meth:`assign` takes bare boxes with ``pred_instances.responsible_flags``.

    In plain loops: :func:`registry_losses.testing.reference.assigners.grid_assigner`.

    Args:
        pos_iou_thr: IoU over which a responsible prior is positive.
        neg_iou_thr: IoU up to which a prior is negative, or the range (low, high].
        min_pos_iou: IoU over which a gt takes its best responsible prior.
        gt_max_assign_all: Whether all priors that tie for a gt's best are taken.
        iou_calculator: Accepted for OpenMMLab's configs: ``BboxOverlaps2D`` or None.
        ignore_iof_thr: See :class:`BaseAssigner`.
    """

    requires_grid = True

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        iou_calculator: dict | None = None,
        *,
        ignore_iof_thr: float | None = None,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)
        check_iou_calculator(iou_calculator)
        self.neg_low: float | None = None
        negative = negative_range(neg_iou_thr)
        if isinstance(negative, tuple):
            self.neg_low, self.neg_high = negative
        else:
            self.neg_high = negative
        self.pos_thr = float(pos_iou_thr)
        self.min_pos = float(min_pos_iou)
        self.assign_all = gt_max_assign_all
        thresholds = (self.neg_low or 0, self.neg_high, self.pos_thr)
        if self.min_pos < 0 or self.neg_high <= 0 or list(thresholds) != sorted(thresholds):
            raise ConfigError(
                'expected 0 < neg_iou_thr <= pos_iou_thr and min_pos_iou >= 0, got '
                f'{neg_iou_thr}, {pos_iou_thr} and {min_pos_iou}'
            )

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        rows = gt_rows(gt)
        prior_index = center_priors(priors, rows.centers)  # (G, P)
        total = gt.batch_size * priors.num_priors
        # One prior more, where what does not count is written.
        responsible = torch.zeros(total + 1, dtype=torch.bool, device=priors.device)
        flat = rows.image[:, None] * priors.num_priors + prior_index
        flat = torch.where(rows.valid[:, None], flat, total)
        responsible.index_fill_(0, flat.reshape(-1), True)
        return self._match(priors, gt, rows, responsible[:-1])

    def _match(
        self, priors: Priors, gt: GroundTruth, rows: GtRows, responsible: Tensor
    ) -> Assignment:
        """The rule, ``responsible (B * N,)`` bool being known."""
        b, n = gt.batch_size, priors.num_priors
        if n == 0 or rows.num_rows == 0:
            return Assignment.empty(b, n, priors.device)
        found = find_overlaps(
            priors,
            gt,
            rows,
            self.neg_low or self.neg_high,
            priors_of=lambda block: center_priors(priors, block.centers),
            eligible=responsible.view(b, n),
        )
        flat_index = rows.image.index_select(0, found.row) * n + found.prior
        index = rows.index.index_select(0, found.row)
        ignored = self._ignored(gt, flat_index, found.iou, n)
        # Outside the responsible priors an IoU counts as -1 from here on.
        mine = responsible.index_select(0, flat_index)
        iou = torch.where(mine, found.iou, -1)
        best = iou.new_full((rows.num_rows,), -1).scatter_reduce_(0, found.row, iou, 'amax')
        takes = (iou == best.index_select(0, found.row)) & (iou > self.min_pos)
        if not self.assign_all:
            prior = torch.where(takes, found.prior, n)
            first = prior.new_full((rows.num_rows,), n)
            first.scatter_reduce_(0, found.row, prior, 'amin')
            takes &= found.prior == first.index_select(0, found.row)
        wins = resolve_with_overrides(
            flat_index, iou, index, b * n, claims=iou > self.pos_thr, overrides=takes
        )
        pair = wins.nonzero().squeeze(1)  # sync: compact pairs
        row = found.row.index_select(0, pair)
        image, prior = rows.image.index_select(0, row), found.prior.index_select(0, pair)
        return Assignment(image, prior, rows.index.index_select(0, row), ignored, one_to_one=True)

    def _ignored(self, gt: GroundTruth, flat_index: Tensor, iou: Tensor, num_priors: int) -> Tensor:
        """``(B, N)`` bool; priors that were not found overlap every gt less than any found."""
        b, total = gt.batch_size, gt.batch_size * num_priors
        ignored = torch.zeros(total + 1, dtype=torch.bool, device=flat_index.device)
        if self.neg_low is not None:
            ignored[:-1].view(b, num_priors)[:] = gt.valid.any(dim=1, keepdim=True)
            ignored.index_fill_(0, torch.where(iou > self.neg_low, flat_index, total), False)
        ignored.index_fill_(0, torch.where(iou > self.neg_high, flat_index, total), True)
        return ignored[:-1].view(b, num_priors)

    def assign(
        self,
        pred_instances: Any,
        gt_instances: Any,
        gt_instances_ignore: Any = None,
        **kwargs: Any,
    ) -> AssignResult:
        """As :meth:`BaseAssigner.assign`.

        Args:
            pred_instances: ``priors`` on a grid, or bare boxes with
                ``responsible_flags (n,)``, the priors whose cell holds a gt's centre.
            gt_instances: See there.
            gt_instances_ignore: See there.
            **kwargs: Not read.

        Raises:
            PairingError: For bare boxes without the flags.
        """
        form = self._batch_of_one(pred_instances, gt_instances, gt_instances_ignore)
        priors, gt, _ = form
        flags = getattr(pred_instances, 'responsible_flags', None)
        if flags is None and not priors.levels:
            raise PairingError(
                'GridAssigner needs priors on a grid, or responsible_flags beside bare '
                f'boxes; got {priors.num_priors} bare boxes'
            )
        if flags is None:
            assignment = self(*form)
            prior_index = center_priors(priors, gt.points[0])
            flags = torch.zeros(priors.num_priors, dtype=torch.bool, device=priors.device)
            flags[prior_index] = True
        else:
            flags = flags.to(device=priors.device, dtype=torch.bool)
            assignment = self._run(
                *form, lambda some, truth, _: self._match(some, truth, gt_rows(truth), flags)
            )
        result = self._result(assignment, *form)
        if gt.max_gts:
            overlaps = max_overlaps(priors.boxes, gt.boxes[0])
            result.max_overlaps = torch.where(flags, overlaps, -1)
        return result
