"""Centre regions: priors in the core of a gt are positive, those around it left out (FSAF).

Shapes: B images, N priors, M gts, G gts of the batch in one list, T pairs.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.boxes import centers_inside, cxcywh_to_xyxy, xyxy_to_cxcywh
from ..ops.iou import bbox_overlaps
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.gt_rows import gt_rows
from .candidates.shares import find_shares
from .conflicts import resolve_conflicts
from .openmmlab import AssignResult, check_iou_calculator


class Regions(NamedTuple):
    """Pairs of a gt and a prior in its outer region or core, all ``(T,)``.

    Args:
        image: int64.
        prior: int64 in [0, N).
        gt: int64 in [0, M).
        core: bool, whether the prior is in the gt's core.
        positive: bool, whether it is positive for the gt.
        outer: bool, whether the prior does not learn about the gt's class.
    """

    image: Tensor
    prior: Tensor
    gt: Tensor
    core: Tensor
    positive: Tensor
    outer: Tensor


@TASK_UTILS.register_module()
class CenterRegionAssigner(BaseAssigner):
    """Priors in the core of a gt are positive; those in the region around it are left out.

    * A gt's core and outer region are its box, scaled by ``pos_scale`` and ``neg_scale``.
    * A prior is in the core when more than ``min_pos_iof`` of its box is and its centre
      lies in the gt. It is positive for the gt; of several, for the smallest one, of equally
      small ones the last.
    * A prior is in the outer region when more than ``min_pos_iof`` of its box is and it is
      not in the core, or when it is in the core but has gone to another gt. It does not
      learn that it is no member of the gt's class. A prior that is positive for one gt and
      in the outer region of another of the same class is not positive, unless with
      ``foreground_dominate``.

    Zhu et al., Feature Selective Anchor-Free Module for Single-Shot Object Detection, CVPR
    2019, the effective and the ignoring boxes; the last sentence follows OpenMMLab.

    Deviation: here a negative prior of an outer region is ignored as a whole, not only for
    the gt's class. OpenMMLab's form returns the (prior, class) pairs as there, in the extra
    property ``shadowed_labels``. Ignore boxes follow the rule of all assigners; in
    OpenMMLab's form, the one there: priors whose centre lies in an ignore box scaled by
    ``ignore_gt_scale`` are ignored, positive or not.

    In plain loops: :func:`registry_losses.testing.reference.assigners.center_region`.

    Args:
        pos_scale: Scale of the core.
        neg_scale: Scale of the outer region; at least that of the core.
        min_pos_iof: Share of a prior's box, exclusive.
        ignore_gt_scale: See above.
        foreground_dominate: See above.
        iou_calculator: Accepted for OpenMMLab's configs: ``BboxOverlaps2D`` or None.
        ignore_iof_thr: See :class:`BaseAssigner`.

    Example:
        >>> assigner = CenterRegionAssigner(0.2, 0.5)
    """

    def __init__(
        self,
        pos_scale: float,
        neg_scale: float,
        min_pos_iof: float = 1e-2,
        ignore_gt_scale: float = 0.5,
        foreground_dominate: bool = False,
        iou_calculator: dict | None = None,
        *,
        ignore_iof_thr: float | None = None,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)
        check_iou_calculator(iou_calculator)
        if not 0 < pos_scale <= neg_scale or not 0 <= min_pos_iof < 1:
            raise ConfigError(
                'expected 0 < pos_scale <= neg_scale and min_pos_iof in [0, 1), got '
                f'{pos_scale}, {neg_scale} and {min_pos_iof}'
            )
        self.pos_scale = pos_scale
        self.neg_scale = neg_scale
        self.min_pos_iof = min_pos_iof
        self.ignore_gt_scale = ignore_gt_scale
        self.foreground_dominate = foreground_dominate

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        found, (b, n) = self._regions(priors, gt), (gt.batch_size, priors.num_priors)
        # One prior more, where what does not count is written.
        ignored = torch.zeros(b * n + 1, dtype=torch.bool, device=priors.device)
        ignored.index_fill_(0, torch.where(found.outer, found.image * n + found.prior, b * n), True)
        at = found.positive.nonzero().squeeze(1)  # sync: compact pairs
        image, prior, index = found.image[at], found.prior[at], found.gt[at]
        return Assignment(image, prior, index, ignored[:-1].view(b, n), one_to_one=True)

    def _regions(self, priors: Priors, gt: GroundTruth) -> Regions:
        rows, n, total = gt_rows(gt), priors.num_priors, gt.batch_size * priors.num_priors
        # What is in the core is in the outer region, too: the larger box has the larger share.
        outer_boxes = scaled(rows.boxes, self.neg_scale)
        row, prior, around = find_shares(priors, rows, outer_boxes, self.min_pos_iof)
        image, index = rows.image[row], rows.index[row]
        core_boxes = scaled(rows.boxes, self.pos_scale)[row]
        share = bbox_overlaps(priors.boxes_at(image, prior), core_boxes, 'iof', is_aligned=True)
        inside = centers_inside(priors.centers_at(image, prior), rows.boxes[row])
        core = around & (share > self.min_pos_iof) & inside
        flat_index = image * n + prior
        areas = torch.where(core, gt.areas[image, index], torch.inf)
        # Of equally small gts the last: the highest number comes first.
        backwards = gt.max_gts - 1 - index
        wins = core & resolve_conflicts(flat_index, areas, backwards, total, largest=False)
        owner = row.new_full((total + 1,), -1)
        owner.index_copy_(0, torch.where(wins, flat_index, total), index)
        own = owner[flat_index]
        outer = (around & ~core) | (core & (own != index))
        positive = wins
        if not self.foreground_dominate and gt.max_gts:
            alike = gt.labels[image, own.clamp(min=0)] == gt.labels[image, index]
            shadowed = torch.zeros(total + 1, dtype=torch.bool, device=row.device)
            same = torch.where(outer & alike & (own >= 0), flat_index, total)
            shadowed.index_fill_(0, same, True)
            positive = wins & ~shadowed[flat_index]
        return Regions(image, prior, index, core, positive, outer)

    def assign(
        self,
        pred_instances: Any,
        gt_instances: Any,
        gt_instances_ignore: Any = None,
        **kwargs: Any,
    ) -> AssignResult:
        """As :meth:`BaseAssigner.assign`; see the class for what differs.

        Returns:
            With the extra property ``shadowed_labels (S, 2)`` int64: a prior, and a class
            that it does not learn about.
        """
        form = self._batch_of_one(pred_instances, gt_instances, gt_instances_ignore)
        priors, gt, _ = form
        found = self._regions(priors, gt)
        n = priors.num_priors
        gt_inds = torch.zeros(n, dtype=torch.long, device=priors.device)
        gt_inds[found.prior[found.positive]] = found.gt[found.positive] + 1
        regions = getattr(gt_instances_ignore, 'bboxes', None)
        if regions is not None and len(regions):
            boxes = scaled(getattr(regions, 'tensor', regions).float(), self.ignore_gt_scale)
            inside = centers_inside(priors.centers[:, None], boxes).any(dim=1)
            gt_inds[inside] = -1
        labels = torch.full_like(gt_inds, -1)
        positive = gt_inds > 0
        labels[positive] = gt.labels[0, gt_inds[positive] - 1]
        # As there: first what is in no core, then what another gt has taken.
        parts = (found.outer & ~found.core, found.outer & found.core)
        at = torch.cat([part.nonzero().squeeze(1) for part in parts])
        outer = torch.stack((found.prior[at], gt.labels[0, found.gt[at]]), dim=1)
        if self.foreground_dominate:
            outer = outer[labels[outer[:, 0]] != outer[:, 1]]
        result = AssignResult(gt.max_gts, gt_inds, None, labels)
        result.set_extra_property('shadowed_labels', outer)
        return result


def scaled(boxes: Tensor, scale: float) -> Tensor:
    """Boxes ``(..., 4)`` with sides that are ``scale`` times as long, around their centres."""
    boxes = xyxy_to_cxcywh(boxes)
    return cxcywh_to_xyxy(boxes * boxes.new_tensor([1.0, 1.0, scale, scale]))
