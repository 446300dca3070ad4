"""Task alignment as YOLOv6 and YOLOv8 have it: the best of the priors inside a gt.

Shapes: B images, N priors, M gts, C classes.
"""

import torch
from torch import Tensor

from ..registry import TASK_UTILS
from .matching.alignment import ALIGNMENT_EPS
from .mmyolo import MMYOLOForm, targets_of, values_of
from .task_aligned import TaskAlignedAssigner


@TASK_UTILS.register_module()
class BatchTaskAlignedAssigner(MMYOLOForm, TaskAlignedAssigner):
    """Task alignment with MMYOLO's name and arguments: the best of the priors inside each gt.

    It is :class:`TaskAlignedAssigner` with ``inside_first=True``, as in YOLOv6 and YOLOv8.
    Feng et al., TOOD, ICCV 2021, section 3.2; Li et al., YOLOv6, arXiv:2209.02976.
    MMYOLO's own call works too, see :meth:`forward`.

    In plain loops: :func:`registry_losses.testing.reference.assigners.task_aligned`.

    Args:
        num_classes: Only MMYOLO's call reads it. By default as many as there are scores.
        topk: Priors that a gt takes at most.
        alpha: Exponent of the score.
        beta: Exponent of the IoU.
        eps: Keeps the normalisation from dividing by 0.
        use_ciou: Measure boxes by complete IoU, floored at 0 (YOLOv8).
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        topk: int = 13,
        alpha: float = 1.0,
        beta: float = 6.0,
        eps: float = ALIGNMENT_EPS,
        use_ciou: bool = False,
        *,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(
            topk,
            alpha=alpha,
            beta=beta,
            inside_first=True,
            use_ciou=use_ciou,
            ignore_iof_thr=ignore_iof_thr,
            ignore_wrt_candidates=ignore_wrt_candidates,
        )
        self.eps = eps
        self.num_classes = num_classes

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
            pred_scores: ``(B, N, C)`` probabilities.
            priors: ``(N, 4)`` points with strides: x, y, stride_w, stride_h.
            gt_labels: ``(B, M, 1)``.
            gt_bboxes: ``(B, M, 4)`` xyxy pixels.
            pad_bbox_flag: ``(B, M, 1)``, 1 for a gt, 0 for padding.

        Returns:
            ``assigned_labels (B, N)`` int64 and ``assigned_bboxes (B, N, 4)``, of negatives
            those of the image's first gt (without any gt, the number of classes and zeros);
            ``assigned_scores (B, N, C)``; and MMYOLO's ``(B, N)`` bool mask of positives.
        """
        classes = pred_scores.shape[-1] if self.num_classes is None else self.num_classes
        form = values_of(
            priors, gt_labels, gt_bboxes, pad_bbox_flag, pred_bboxes, pred_scores, box_scale=1
        )
        return targets_of(self(*form), form[1], classes, first_label=True)
