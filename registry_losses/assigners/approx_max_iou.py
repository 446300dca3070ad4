"""Approximate max IoU: a prior counts as its best approximation (guided anchoring).

Shapes: B images, N priors, M gts, A approximations of a prior, G gts of the batch, T pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, check_shape
from ..ops.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .candidates.gt_rows import GtRows
from .candidates.prior_overlaps import UNKNOWN, Overlaps
from .max_iou import MaxIoUAssigner
from .openmmlab import AssignResult, max_overlaps


@TASK_UTILS.register_module()
class ApproxMaxIoUAssigner(MaxIoUAssigner):
    """:class:`MaxIoUAssigner`, where a prior's IoU is the largest of its approximations'.

    A head that predicts the shape of its anchors has one square prior a cell. What IoU the
    shape would reach is approximated by a few fixed shapes around the same centre.

    Wang et al., Region Proposal by Guided Anchoring, CVPR 2019, section 3.4 (the sampled
    shapes of vIoU), with the thresholds of Faster R-CNN.

    OpenMMLab's form takes the shapes as ``pred_instances.approxs (n, A, 4)``. Our heads do
    not hand them over: there they are the prior's box in every scale and ratio of the
    options, by default the prior's box alone.

    In plain loops: :func:`registry_losses.testing.reference.assigners.approx_max_iou`.

    Args:
        pos_iou_thr: See :class:`MaxIoUAssigner`.
        neg_iou_thr: See :class:`MaxIoUAssigner`.
        min_pos_iou: See :class:`MaxIoUAssigner`.
        gt_max_assign_all: See :class:`MaxIoUAssigner`.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.
        match_low_quality: See :class:`MaxIoUAssigner`.
        gpu_assign_thr: See :class:`MaxIoUAssigner`.
        iou_calculator: See :class:`MaxIoUAssigner`.
        approx_scales: Sides of the approximations, in sides of the prior.
        approx_ratios: Height over width of the approximations, in those of the prior, at
            equal area.
    """

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
        *,
        approx_scales: Sequence[float] = (1.0,),
        approx_ratios: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__(
            pos_iou_thr,
            neg_iou_thr,
            min_pos_iou,
            gt_max_assign_all,
            ignore_iof_thr,
            ignore_wrt_candidates,
            match_low_quality,
            gpu_assign_thr,
            iou_calculator,
        )
        if not approx_scales or not approx_ratios or min(*approx_scales, *approx_ratios) <= 0:
            raise ConfigError(
                'approx_scales and approx_ratios: expected numbers over 0, got '
                f'{approx_scales} and {approx_ratios}'
            )
        #: (width, height) of each approximation in those of the prior.
        self.shapes = tuple(
            (scale / math.sqrt(ratio), scale * math.sqrt(ratio))
            for scale in approx_scales
            for ratio in approx_ratios
        )
        self._given: tuple[Priors, ...] | None = None

    def _overlaps(self, priors: Priors, gt: GroundTruth, rows: GtRows) -> Overlaps:
        approximations = self._given or tuple(_scaled(priors, *shape) for shape in self.shapes)
        found = [
            super(ApproxMaxIoUAssigner, self)._overlaps(some.with_valid(priors.valid), gt, rows)
            for some in approximations
        ]
        return found[0] if len(found) == 1 else _largest(found, priors.num_priors)

    def assign(
        self,
        pred_instances: Any,
        gt_instances: Any,
        gt_instances_ignore: Any = None,
        **kwargs: Any,
    ) -> AssignResult:
        """As :meth:`BaseAssigner.assign`, with the shapes that OpenMMLab's head makes.

        Args:
            pred_instances: ``priors`` as there, and ``approxs (n, A, 4)`` xyxy.
            gt_instances: See there.
            gt_instances_ignore: See there.
            **kwargs: Not read.
        """
        approxs = getattr(pred_instances, 'approxs', None)
        if approxs is None:
            return super().assign(pred_instances, gt_instances, gt_instances_ignore, **kwargs)
        check_shape('approxs', approxs, len(pred_instances.priors), 'A', 4)
        self._given = tuple(
            Priors(boxes, torch.ones_like(boxes[:, :2])) for boxes in approxs.unbind(dim=1)
        )
        try:
            return super().assign(pred_instances, gt_instances, gt_instances_ignore, **kwargs)
        finally:
            self._given = None

    def _max_overlaps(
        self,
        pairs: Assignment,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
    ) -> Tensor | None:
        approximations = self._given or tuple(_scaled(priors, *shape) for shape in self.shapes)
        overlaps = torch.stack([max_overlaps(some.boxes, gt.boxes[0]) for some in approximations])
        best = overlaps.amax(dim=0)
        region = self._ignore_region(priors, gt)
        if region is not None and gt.max_gts:
            best[region[0]] = -1
        return best


def _scaled(priors: Priors, width: float, height: float) -> Priors:
    """The priors with sides that are so many times as long, around the same centres."""
    if (width, height) == (1.0, 1.0):
        return priors
    boxes = xyxy_to_cxcywh(priors.boxes)
    boxes = cxcywh_to_xyxy(boxes * boxes.new_tensor([1.0, 1.0, width, height]))
    levels = tuple(
        replace(level, base_sizes=tuple((w * width, h * height) for w, h in level.base_sizes))
        for level in priors.levels
    )
    return Priors(boxes, priors.strides, levels, centers=priors.centers)


def _largest(parts: list[Overlaps], num_priors: int) -> Overlaps:
    """One list of several, each pair once with its largest IoU."""
    row, prior, iou = (
        torch.cat(values) for values in zip(*((p.row, p.prior, p.iou) for p in parts))
    )
    pair, index = torch.unique(row * num_priors + prior, return_inverse=True)
    best = iou.new_full(pair.shape, -1).scatter_reduce_(0, index, iou, 'amax')
    row = torch.div(pair, max(num_priors, 1), rounding_mode='floor')
    counts = [part.num_unmatched for part in parts]
    unmatched = UNKNOWN if UNKNOWN in counts else min(counts)
    return Overlaps(row, pair - row * num_priors, best, unmatched)
