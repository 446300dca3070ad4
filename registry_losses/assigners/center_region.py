"""Centre regions: priors in the core of a gt are positive, those around it left out (FSAF).

Shapes: B images, N priors, M gts, G gts of the batch in one list, T pairs.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.boxes import centers_inside, cxcywh_to_xyxy, xyxy_to_cxcywh
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.gt_rows import gt_rows
from .candidates.shares import find_shares
from .matching.conflicts import winners
from .openmmlab import AssignResult, check_iou_calculator


class Regions(NamedTuple):
    """What lies where: positive pairs ``(K,)``, and ``(S,)`` pairs in a gt's outer region."""

    image: Tensor
    prior: Tensor
    gt: Tensor
    outer_image: Tensor
    outer_prior: Tensor
    outer_gt: Tensor


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
    2019, section 3.2 (effective and ignoring boxes); the last sentence follows OpenMMLab.

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
        found = self._regions(priors, gt)
        ignored = torch.zeros(
            gt.batch_size, priors.num_priors, dtype=torch.bool, device=priors.device
        )
        ignored[found.outer_image, found.outer_prior] = True
        return Assignment(found.image, found.prior, found.gt, ignored, one_to_one=True)

    def _regions(self, priors: Priors, gt: GroundTruth) -> Regions:
        rows, n, m = gt_rows(gt), priors.num_priors, gt.max_gts
        total = gt.batch_size * n
        core = find_shares(priors, rows, scaled(rows.boxes, self.pos_scale), self.min_pos_iof)
        points = priors.centers_at(rows.image[core[0]], core[1])
        inside = centers_inside(points, rows.boxes[core[0]])
        row, prior = (values[inside] for values in core)
        flat_index = rows.image[row] * n + prior
        # Of equally small gts the last: the highest number comes first.
        areas = gt.areas[rows.image, rows.index]
        backwards = m - 1 - rows.index[row]
        won, owner = winners(flat_index, areas[row], backwards, total, largest=False)
        owner = m - 1 - owner
        gt_of = flat_index.new_full((total,), -1).index_copy_(0, won, owner)
        outer_row, outer_prior = find_shares(
            priors, rows, scaled(rows.boxes, self.neg_scale), self.min_pos_iof
        )
        around = ~torch.isin(outer_row * n + outer_prior, row * n + prior)
        other = gt_of[flat_index] != rows.index[row]
        outer_row = torch.cat((outer_row[around], row[other]))
        outer_prior = torch.cat((outer_prior[around], prior[other]))
        outer_image, outer_gt = rows.image[outer_row], rows.index[outer_row]
        image = torch.div(won, max(n, 1), rounding_mode='floor')
        if not self.foreground_dominate and m:
            outer_flat = outer_image * n + outer_prior
            own = gt.labels[outer_image, gt_of[outer_flat].clamp(min=0)]
            same = (own == gt.labels[outer_image, outer_gt]) & (gt_of[outer_flat] >= 0)
            keep = ~torch.isin(won, outer_flat[same])
            won, owner, image = won[keep], owner[keep], image[keep]
        return Regions(image, won - image * n, owner, outer_image, outer_prior, outer_gt)

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
        gt_inds[found.prior] = found.gt + 1
        regions = getattr(gt_instances_ignore, 'bboxes', None)
        if regions is not None and len(regions):
            boxes = scaled(getattr(regions, 'tensor', regions).float(), self.ignore_gt_scale)
            inside = centers_inside(priors.centers[:, None], boxes).any(dim=1)
            gt_inds[inside] = -1
        labels = torch.full_like(gt_inds, -1)
        positive = gt_inds > 0
        labels[positive] = gt.labels[0, gt_inds[positive] - 1]
        outer = torch.stack((found.outer_prior, gt.labels[0, found.outer_gt]), dim=1)
        if self.foreground_dominate:
            outer = outer[labels[outer[:, 0]] != outer[:, 1]]
        result = AssignResult(gt.max_gts, gt_inds, None, labels)
        result.set_extra_property('shadowed_labels', outer)
        return result


def scaled(boxes: Tensor, scale: float) -> Tensor:
    """Boxes ``(..., 4)`` with sides that are ``scale`` times as long, around their centres."""
    boxes = xyxy_to_cxcywh(boxes)
    return cxcywh_to_xyxy(boxes * boxes.new_tensor([1.0, 1.0, scale, scale]))
