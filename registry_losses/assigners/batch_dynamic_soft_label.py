"""Dynamic soft labels as MMYOLO has them: the class cost is that of the gt's class alone.

Shapes: B images, N priors, M gts, C classes.
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import GroundTruth, Predictions, Priors
from .dynamic_soft_label import DynamicSoftLabelAssigner, SoftLabelTerms
from .mmyolo import MMYOLOForm, targets_of, values_of
from .openmmlab import check_iou_calculator


@TASK_UTILS.register_module()
class BatchDynamicSoftLabelAssigner(MMYOLOForm, DynamicSoftLabelAssigner):
    """RTMDet's matching with MMYOLO's name, arguments and class cost.

    It differs from :class:`DynamicSoftLabelAssigner` in two details: the class cost is
    ``BCE(p_c, y) |y - p_c|^2`` of the gt's class c alone, not summed over the classes; and a
    gt's k sums its best IoUs over all priors, not only those inside a gt. MMYOLO's own call
    works too, see :meth:`forward`.

    Lyu et al., RTMDet, arXiv:2212.07784, section 3.3.

    Deviation: MMYOLO lets padding compete for a prior in conflict, and gives priors outside
    every gt to a gt whose k is larger than the number of priors inside; here only gts
    compete, and only for priors inside a gt.

    In plain loops: :func:`registry_losses.testing.reference.assigners.batch_dynamic_soft_label`.

    Args:
        num_classes: Only MMYOLO's call reads it: the label of negatives. By default as many
            as there are scores.
        soft_center_radius: Strides at which the distance term is 1.
        topk: IoUs summed for k.
        iou_weight: Weight of the IoU cost.
        iou_calculator: Accepted for MMYOLO's configs: ``BboxOverlaps2D`` or None.
        batch_iou: Accepted for MMYOLO's configs; it does not change the result.
        quality: See :class:`DynamicSoftLabelAssigner`.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.
    """

    sums_over_regions = False

    def __init__(
        self,
        num_classes: int | None = None,
        soft_center_radius: float = 3.0,
        topk: int = 13,
        iou_weight: float = 3.0,
        iou_calculator: dict | None = None,
        batch_iou: bool = True,
        *,
        quality: str = 'iou',
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        check_iou_calculator(iou_calculator)
        super().__init__(
            soft_center_radius,
            topk,
            iou_weight,
            quality=quality,
            ignore_iof_thr=ignore_iof_thr,
            ignore_wrt_candidates=ignore_wrt_candidates,
        )
        self.num_classes = num_classes

    def _terms(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions, taking_part: Tensor
    ) -> SoftLabelTerms:
        return SoftLabelTerms(
            priors,
            gt,
            predictions,
            soft_center_radius=self.soft_center_radius,
            iou_weight=self.iou_weight,
            other_classes=False,
            all_negative=predictions.scores.new_zeros(taking_part.numel()),
        )

    @torch.no_grad()
    def forward(
        self,
        pred_bboxes: Tensor,
        pred_scores: Tensor,
        priors: Tensor,
        gt_labels: Tensor,
        gt_bboxes: Tensor,
        pad_bbox_flag: Tensor,
    ) -> dict[str, Tensor]:
        """MMYOLO's call.

        Args:
            pred_bboxes: ``(B, N, 4)`` xyxy pixels.
            pred_scores: ``(B, N, C)`` logits.
            priors: ``(N, 4)`` points with strides: x, y, stride_w, stride_h.
            gt_labels: ``(B, M, 1)``.
            gt_bboxes: ``(B, M, 4)`` xyxy pixels.
            pad_bbox_flag: ``(B, M, 1)``, 1 for a gt, 0 for padding.

        Returns:
            ``assigned_labels (B, N)`` int64, the number of classes for negatives;
            ``assigned_labels_weights (B, N)``, ones; ``assigned_bboxes (B, N, 4)``, zeros for
            negatives; and ``assign_metrics (B, N)``, the IoU of positives, 0 elsewhere.

        Raises:
            ConfigError: For rotated boxes.
        """
        if pred_bboxes.shape[-1] != 4:
            raise ConfigError(
                'BatchDynamicSoftLabelAssigner: rotated boxes are not handled; expected '
                f'(B, N, 4), got {tuple(pred_bboxes.shape)}'
            )
        classes = pred_scores.shape[-1] if self.num_classes is None else self.num_classes
        form: Any = values_of(
            priors,
            gt_labels,
            gt_bboxes,
            pad_bbox_flag,
            pred_bboxes,
            pred_scores.sigmoid(),
            box_scale=1,
        )
        found = self(*form)
        positive = found.positive_mask()
        targets = targets_of(found, form[1], classes)
        boxes = torch.where(positive[..., None], targets['assigned_bboxes'], 0)
        metrics = gt_bboxes.new_zeros(positive.shape)
        metrics[found.image, found.prior] = found.quality.to(metrics)
        return {
            'assigned_labels': targets['assigned_labels'],
            'assigned_labels_weights': torch.ones_like(metrics),
            'assigned_bboxes': boxes,
            'assign_metrics': metrics,
        }
