"""Approximate max IoU: the best of a few shapes stands for a prior (guided anchoring).

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
from ..ops.device import host_sync_is_free
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .candidates.gt_rows import GtRows
from .candidates.prior_overlaps import Overlaps
from .max_iou import MaxIoUAssigner
from .openmmlab import AssignResult, max_overlaps


@TASK_UTILS.register_module()
class ApproxMaxIoUAssigner(MaxIoUAssigner):
    """Max IoU, where the IoU of a prior is the largest of a few shapes around its centre.

    Otherwise as :class:`MaxIoUAssigner`.

    A head that predicts the shape of its anchors has one square prior per cell. The IoU
    that the predicted shape may reach is approximated by a few fixed shapes around the same
    centre.

    Wang et al., Region Proposal by Guided Anchoring, CVPR 2019, the anchor shape
    targets (the sampled shapes of vIoU), with the thresholds of Faster R-CNN.

    OpenMMLab's form takes the shapes as ``pred_instances.approxs (n, A, 4)``. Our heads do
    not pass any; with them the shapes are the prior's box in every scale and ratio of the
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
        approx_scales: Sides of the approximations, relative to those of the prior.
        approx_ratios: Height over width of the approximations, relative to that of the prior, at
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
        self._given: Priors | None = None

    def _overlaps(self, priors: Priors, gt: GroundTruth, rows: GtRows) -> Overlaps:
        found = super()._overlaps(self._approximations(priors), gt, rows)
        return _largest(found, priors.num_priors, self._each(priors))

    def _approximations(self, priors: Priors) -> Priors:
        """The A approximations of each prior, one after the other, as ``N * A`` priors."""
        shapes = self.shapes
        some = self._given or priors.once(f'shapes {shapes}', lambda own: _shaped(own, shapes))
        if priors.valid is None:
            return some
        return some.with_valid(priors.valid.repeat_interleave(self._each(priors), dim=1))

    def _each(self, priors: Priors) -> int:
        """A."""
        if self._given is None:
            return len(self.shapes)
        return self._given.num_priors // max(priors.num_priors, 1)

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
        boxes = approxs.reshape(-1, 4)
        self._given = Priors(boxes, torch.ones_like(boxes[:, :2]))
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
        overlaps = max_overlaps(self._approximations(priors).boxes.reshape(-1, 4), gt.boxes[0])
        best = overlaps.view(priors.num_priors, self._each(priors)).amax(dim=1)
        region = self._ignore_region(priors, gt)
        if region is not None and gt.max_gts:
            best[region[0]] = -1
        return best


def _shaped(priors: Priors, shapes: Sequence[tuple[float, float]]) -> Priors:
    """Each prior in every shape ``(width, height)``, in its own sides, around its centre."""
    boxes = xyxy_to_cxcywh(priors.boxes)[..., None, :]  # (..., N, 1, 4)
    factors = boxes.new_tensor([(1.0, 1.0, width, height) for width, height in shapes])
    boxes = torch.where(
        (factors == 1).all(dim=1, keepdim=True),
        priors.boxes[..., None, :],  # to the bit
        cxcywh_to_xyxy(boxes * factors),
    )
    levels = tuple(
        replace(
            level,
            base_sizes=tuple((w * x, h * y) for w, h in level.base_sizes for x, y in shapes),
        )
        for level in priors.levels
    )
    each = len(shapes)
    centers = priors.centers.repeat_interleave(each, dim=-2)
    strides = priors.strides.repeat_interleave(each, dim=-2)
    return Priors(boxes.flatten(-3, -2), strides, levels, centers=centers)


def _largest(found: Overlaps, num_priors: int, each: int) -> Overlaps:
    """Pairs with approximations as pairs with priors: the largest IoU counts.

    Where a host sync is not free, the pairs that do not count are listed with an IoU of -1.
    """
    pair = found.row * num_priors + torch.div(found.prior, each, rounding_mode='floor')
    pair, order = pair.sort(stable=True)
    iou = found.iou.index_select(0, order)
    first = torch.ones_like(pair, dtype=torch.bool)
    first[1:] = pair[1:] != pair[:-1]
    number = first.cumsum(0) - 1
    best = torch.full_like(iou, -1).scatter_reduce_(0, number, iou, 'amax')
    iou = torch.where(first, best.index_select(0, number), -1)
    if host_sync_is_free(pair.device):
        at = first.nonzero().squeeze(1)
        pair, iou = pair.index_select(0, at), iou.index_select(0, at)
    row = torch.div(pair, max(num_priors, 1), rounding_mode='floor')
    return Overlaps(row, pair - row * num_priors, iou, found.num_unmatched)
