"""Uniform matching: the same number of priors for every gt, large or small (YOLOF).

Shapes: B images, N priors, M gts, G gts of the batch, k matches of a gt.
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.boxes import xyxy_to_cxcywh
from ..ops.device import block_elements
from ..ops.iou import bbox_overlaps
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.gt_rows import GtRows, gt_rows
from .candidates.predictions_over import predictions_over
from .conflicts import last_claims
from .openmmlab import AssignResult, check_iou_calculator


@TASK_UTILS.register_module()
class UniformAssigner(BaseAssigner):
    """Each gt takes the k nearest priors, and the priors of the k nearest predictions.

    Distance is the L1 distance of the boxes in (cx, cy, w, h). Of the 2 k claims of a
    gt, one whose *prior* overlaps it by less than ``pos_ignore_thr`` makes the prior
    ignored. A prior claimed several times follows the claim last in the order (rank,
    prediction before prior, gt), as the established implementation writes them. A prior
    without a claim whose *prediction* overlaps any gt by more than ``neg_ignore_thr`` is
    ignored, the rest are negative.

    Chen et al., You Only Look One-level Feature, arXiv:2103.09460, section 4.2 (uniform
    matching, k = 4).

    Deviation: one gt a prior; YOLOF's own head also regresses the other claims on it. Where
    equal distances straddle the k-th place, the choice is that of ``torch.topk``.

    In plain loops: :func:`registry_losses.testing.reference.assigners.uniform`.

    Args:
        pos_ignore_thr: Least IoU of a positive's prior with its gt.
        neg_ignore_thr: Largest IoU of a negative's prediction with any gt.
        match_times: k.
        iou_calculator: Accepted for OpenMMLab's configs: ``BboxOverlaps2D`` or None.
        ignore_iof_thr: See :class:`BaseAssigner`.
    """

    needs = frozenset({'predictions'})
    requires_grid = True

    def __init__(
        self,
        pos_ignore_thr: float,
        neg_ignore_thr: float,
        match_times: int = 4,
        iou_calculator: dict | None = None,
        *,
        ignore_iof_thr: float | None = None,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)
        check_iou_calculator(iou_calculator)
        if match_times < 1:
            raise ConfigError(f'match_times: expected at least 1, got {match_times}')
        self.pos_ignore_thr = pos_ignore_thr
        self.neg_ignore_thr = neg_ignore_thr
        self.match_times = match_times

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        assert predictions is not None  # __call__ sees to it
        b, n = gt.batch_size, priors.num_priors
        rows = gt_rows(gt)
        if n == 0 or rows.num_rows == 0:
            return Assignment.empty(b, n, priors.device)
        ignored = predictions_over(predictions, gt, self.neg_ignore_thr)
        prior_index, exists = self._claims(priors, rows, predictions)
        prior = prior_index.reshape(-1)  # rank, prediction or prior, gt
        number = torch.arange(prior.shape[0], device=prior.device)
        row = number % rows.num_rows
        image, index = rows.image[row], rows.index[row]
        boxes = priors.boxes_at(image, prior)
        near = bbox_overlaps(boxes, rows.boxes[row], is_aligned=True) >= self.pos_ignore_thr
        exists = exists.reshape(-1) & rows.valid[row]
        flat_index = image * n + prior
        last = last_claims(flat_index, number, b * n, exists)
        flat = torch.cat((ignored.reshape(-1), ignored.new_zeros(1)))
        flat.index_fill_(0, torch.where(last & ~near, flat_index, b * n), True)
        pair = (last & near).nonzero().squeeze(1)  # sync: compact pairs
        ignored = flat[:-1].view(b, n)
        return Assignment(image[pair], prior[pair], index[pair], ignored, one_to_one=True)

    def _claims(
        self, priors: Priors, rows: GtRows, predictions: Predictions
    ) -> tuple[Tensor, Tensor]:
        """``(k, 2, G)`` priors, nearest first, by prediction and by prior; which exist."""
        n = priors.num_priors
        k = min(self.match_times, n)
        prior_index = rows.image.new_zeros(k, 2, rows.num_rows)
        exists = torch.zeros_like(prior_index, dtype=torch.bool)
        # Each coordinate contiguous: (4, B or 1, n).
        predicted = xyxy_to_cxcywh(predictions.boxes).permute(2, 0, 1).contiguous()
        fixed = xyxy_to_cxcywh(priors.boxes).reshape(-1, n, 4).permute(2, 0, 1).contiguous()
        step = max(block_elements(priors.device) // (4 * n), 1)
        for start in range(0, rows.num_rows, step):
            block = rows.part(slice(start, start + step))
            own = xyxy_to_cxcywh(block.boxes).t()[..., None]  # (4, g, 1)
            for i, planes in enumerate((predicted, fixed)):
                rows_of = block.image if planes.shape[1] > 1 else block.image * 0
                distance = torch.zeros(())
                for plane, side in zip(planes, own):
                    distance = distance + (plane.index_select(0, rows_of) - side).abs()  # (g, n)
                if priors.valid is not None:
                    distance = torch.where(priors.valid[block.image], distance, torch.inf)
                value, index = distance.topk(k, dim=1, largest=False)
                prior_index[:, i, start : start + step] = index.t()
                exists[:, i, start : start + step] = torch.isfinite(value).t()
        return prior_index, exists

    def assign(
        self,
        pred_instances: Any,
        gt_instances: Any,
        gt_instances_ignore: Any = None,
        **kwargs: Any,
    ) -> AssignResult:
        """As :meth:`BaseAssigner.assign`; priors without a grid suffice.

        Args:
            pred_instances: ``priors`` and the predicted boxes, ``decoder_priors`` (the
                name of OpenMMLab's head) or ``bboxes``.
            gt_instances: See there.
            gt_instances_ignore: See there.
            **kwargs: Not read.

        Returns:
            ``max_overlaps`` is ``(m,)``, the largest IoU of each gt with any prior, and
            the extra properties ``pos_idx``, ``pos_predicted_boxes`` and
            ``target_boxes`` list all claims, as that head reads them.
        """
        predicted = getattr(pred_instances, 'decoder_priors', None)
        if predicted is None:
            predicted = getattr(pred_instances, 'bboxes', None)
        priors, gt, _ = self._batch_of_one(pred_instances, gt_instances, gt_instances_ignore)
        predictions = None
        if predicted is not None:
            boxes = predicted.detach().reshape(1, -1, 4).float()
            predictions = Predictions(boxes, boxes.new_ones(1, boxes.shape[1], 1))
        self._check_sizes(priors, gt, predictions)
        assert predictions is not None and predicted is not None
        form = priors, gt, predictions
        result = self._result(self._run(*form, self._assign), *form)
        rows = gt_rows(gt)
        if rows.num_rows and priors.num_priors:
            prior = self._claims(priors, rows, predictions)[0].reshape(-1)
            own = rows.boxes.repeat(prior.shape[0] // rows.num_rows, 1)
            overlap = bbox_overlaps(priors.boxes[prior], own, is_aligned=True)
            result.max_overlaps = _best_of_gts(gt.boxes[0], priors.boxes)
        else:
            prior, own = gt.labels.new_zeros(0), gt.boxes.new_zeros(0, 4)
            overlap = own[:, 0]
            result.max_overlaps = None
        result.set_extra_property('pos_idx', overlap >= self.pos_ignore_thr)
        result.set_extra_property('pos_predicted_boxes', predicted[prior])
        result.set_extra_property('target_boxes', own)
        return result


def _best_of_gts(gt_boxes: Tensor, boxes: Tensor) -> Tensor:
    """``(m,)`` the largest IoU of each gt with any of ``boxes (n, 4)``, streamed."""
    best = gt_boxes.new_zeros(gt_boxes.shape[0])
    step = max(block_elements(boxes.device) // gt_boxes.shape[0], 1)
    for start in range(0, boxes.shape[0], step):
        part = bbox_overlaps(gt_boxes, boxes[start : start + step])
        best = torch.maximum(best, part.amax(dim=1))
    return best
