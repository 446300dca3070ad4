"""MMYOLO's form of an assigner: padded tensors in, a dict of dense targets out.

Shapes: B images, N priors, M gts, C classes.
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import check_shape
from ..structures import Assignment, GroundTruth, Predictions, Priors

# What MMYOLO's heads read the mask of the positives by.
MASK_KEY = 'fg_mask_pre_prior'


class MMYOLOForm:
    """Lets an assigner be called as MMYOLO's heads call theirs, beside our own call.

    Put before the assigner's base class. What comes first decides: with :class:`Priors` it
    is our call, otherwise MMYOLO's, which goes to ``forward``.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Our call, or MMYOLO's."""
        first = args[0] if args else options.get('priors')
        if isinstance(first, Priors):
            return super().__call__(*args, **options)  # type: ignore[misc]
        return self.forward(*args, **options)

    def forward(self, *args: Any, **options: Any) -> dict[str, Tensor]:
        """MMYOLO's call; each assigner has its own arguments."""
        raise NotImplementedError


def values_of(
    priors: Tensor,
    gt_labels: Tensor,
    gt_bboxes: Tensor,
    pad_bbox_flag: Tensor,
    pred_bboxes: Tensor | None = None,
    pred_scores: Tensor | None = None,
    *,
    box_scale: float,
) -> tuple[Priors, GroundTruth, Predictions | None]:
    """MMYOLO's tensors as what our assigners read.

    Args:
        priors: ``(N, 4)``: x, y, stride_w, stride_h.
        gt_labels: ``(B, M, 1)``.
        gt_bboxes: ``(B, M, 4)`` xyxy pixels.
        pad_bbox_flag: ``(B, M, 1)``, 1 for a gt, 0 for padding.
        pred_bboxes: ``(B, N, 4)``.
        pred_scores: ``(B, N, C)`` probabilities.
        box_scale: Side of a prior's box in strides.

    Raises:
        ShapeError: For tensors of other shapes.
    """
    check_shape('priors', priors, 'N', 4)
    check_shape('gt_bboxes', gt_bboxes, 'B', 'M', 4)
    b, m = gt_bboxes.shape[:2]
    check_shape('gt_labels', gt_labels, b, m, 1)
    check_shape('pad_bbox_flag', pad_bbox_flag, b, m, 1)
    points, strides = priors[:, :2].float(), priors[:, 2:].float()
    half = strides * (box_scale / 2)
    boxes = gt_bboxes.detach().float()
    own = Priors(torch.cat((points - half, points + half), dim=1), strides, centers=points)
    gt = GroundTruth(
        boxes=boxes,
        labels=gt_labels[..., 0].long(),
        valid=pad_bbox_flag[..., 0] > 0,
        points=(boxes[..., :2] + boxes[..., 2:]) / 2,
        groups=torch.full((b, m), -1, device=boxes.device),
        ignore_boxes=boxes.new_zeros(b, 0, 4),
        ignore_valid=torch.zeros(b, 0, dtype=torch.bool, device=boxes.device),
        image_sizes=boxes.new_full((b, 2), torch.inf),
    )
    if pred_bboxes is None or pred_scores is None:
        return own, gt, None
    return own, gt, Predictions(pred_bboxes.detach().float(), pred_scores.detach().float())


def targets_of(
    found: Assignment, gt: GroundTruth, num_classes: int, *, first_label: bool = False
) -> dict[str, Tensor]:
    """The dict of BatchTaskAlignedAssigner and BatchATSSAssigner.

    Args:
        found: One gt a prior at most.
        gt: The gts.
        num_classes: C, the label of negatives.
        first_label: Negatives have the label of the image's first gt instead, where there
            are gts.
    """
    b, n = found.ignored.shape
    labels = torch.full((b, n), num_classes, device=gt.device)
    if first_label and gt.max_gts:
        labels[:] = gt.labels[:, :1].clamp(min=0)
    labels[found.image, found.prior] = found.labels_of(gt)
    boxes = gt.boxes.new_zeros(b, n, 4)
    if gt.max_gts:
        boxes[:] = gt.boxes[:, :1]
    boxes[found.image, found.prior] = found.boxes_of(gt)
    scores = gt.boxes.new_zeros(b, n, num_classes)
    scores[found.image, found.prior, found.labels_of(gt)] = found.quality
    return {
        'assigned_labels': labels,
        'assigned_bboxes': boxes,
        'assigned_scores': scores,
        MASK_KEY: found.positive_mask(),
    }
