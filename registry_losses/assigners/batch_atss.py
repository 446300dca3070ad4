"""ATSS as MMYOLO has it: a prior claimed twice goes to the best gt of the image.

Shapes: B images, N priors, M gts, C classes.
"""

import warnings
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.iou import bbox_overlaps
from ..registry import TASK_UTILS
from .atss import ATSSAssigner
from .mmyolo import MMYOLOForm, targets_of, values_of

# Strides that the side of a prior's box spans in MMYOLO.
BOX_SCALE = 5.0


@TASK_UTILS.register_module()
class BatchATSSAssigner(MMYOLOForm, ATSSAssigner):
    """ATSS with MMYOLO's name and arguments: a prior claimed twice goes to the best gt of all.

    It differs from :class:`ATSSAssigner` in two details: the centre of a positive may lie
    on the border of its gt (1e-9 instead of 0.01 pixels inside), and a prior that is positive
    for several gts goes to the gt of the *whole* image that it overlaps most, even if it is
    not positive for that one. In the paper (arXiv:1912.02424, section 4.1) only the gts for
    which it is positive compete. MMYOLO's own call works too, see :meth:`forward`.

    In plain loops: :func:`registry_losses.testing.reference.assigners.batch_atss`.

    Args:
        num_classes: Only MMYOLO's call needs it: the label of negatives.
        iou_calculator: See :class:`ATSSAssigner`.
        topk: See :class:`ATSSAssigner`.
        ignore_iof_thr: See :class:`BaseAssigner`.
    """

    margin = 1e-9
    contest_all = True

    def __init__(
        self,
        num_classes: int | None = None,
        iou_calculator: dict | None = None,
        topk: int = 9,
        *,
        ignore_iof_thr: float | None = None,
    ) -> None:
        if isinstance(iou_calculator, int):
            warnings.warn(
                'BatchATSSAssigner: topk is the third argument, as in MMYOLO; name it',
                DeprecationWarning,
                stacklevel=2,
            )
            iou_calculator, topk = None, iou_calculator
        super().__init__(topk, iou_calculator=iou_calculator, ignore_iof_thr=ignore_iof_thr)
        self.num_classes = num_classes

    @torch.no_grad()
    def forward(
        self,
        pred_bboxes: Tensor | None,
        priors: Tensor,
        num_level_priors: Sequence[int],
        gt_labels: Tensor,
        gt_bboxes: Tensor,
        pad_bbox_flag: Tensor,
    ) -> dict[str, Tensor]:
        """MMYOLO's call.

        Args:
            pred_bboxes: ``(B, N, 4)`` xyxy pixels, whose IoU becomes the class target; None
                for class targets of 1.
            priors: ``(N, 4)`` points with strides: x, y, stride_w, stride_h. Their boxes
                are five strides wide.
            num_level_priors: Priors of each level; they add up to N.
            gt_labels: ``(B, M, 1)``.
            gt_bboxes: ``(B, M, 4)`` xyxy pixels.
            pad_bbox_flag: ``(B, M, 1)``, 1 for a gt, 0 for padding.

        Returns:
            ``assigned_labels (B, N)`` int64, the number of classes for negatives;
            ``assigned_bboxes (B, N, 4)``, of negatives the image's first gt;
            ``assigned_scores (B, N, C)``; and MMYOLO's ``(B, N)`` bool mask of positives.

        Raises:
            ConfigError: If the assigner was built without ``num_classes``.
            ShapeError: If the levels do not add up.
        """
        if self.num_classes is None:
            raise ConfigError("BatchATSSAssigner: MMYOLO's call needs num_classes=")
        form = values_of(priors, gt_labels, gt_bboxes, pad_bbox_flag, box_scale=BOX_SCALE)
        sizes = self._checked_levels(num_level_priors, form[0].num_priors)
        found = self._run(*form, partial(self._assign_levels, sizes))
        if pred_bboxes is not None:
            boxes = pred_bboxes[found.image, found.prior].float()
            quality = bbox_overlaps(boxes, found.boxes_of(form[1]), is_aligned=True)
            found = found.replace(quality=quality)
        return targets_of(found, form[1], self.num_classes)
