"""OpenMMLab's per-image form of a sampling.

Shapes: N priors, M gts of one image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..structures import Assignment, GroundTruth, Priors


@dataclass(frozen=True, eq=False)
class SamplingResult:
    """The chosen priors of one image, under the names of OpenMMLab's result.

    Args:
        pos_inds: ``(P,)`` int64 ascending, the positive priors.
        neg_inds: ``(Q,)`` int64 ascending, the negative priors.
        pos_assigned_gt_inds: ``(P,)`` int64, the gt of each positive.
        pos_gt_bboxes: ``(P, 4)`` its box.
        pos_gt_labels: ``(P,)`` its label.
        all_priors: ``(N, 4)`` all priors, after the gts where those were added.
        pos_is_gt: ``(P,)`` uint8, which positives are gts that were added.
        num_gts: M.
        avg_factor_with_neg: Whether ``avg_factor`` counts negatives.
    """

    pos_inds: Tensor
    neg_inds: Tensor
    pos_assigned_gt_inds: Tensor
    pos_gt_bboxes: Tensor
    pos_gt_labels: Tensor
    all_priors: Tensor
    pos_is_gt: Tensor
    num_gts: int
    avg_factor_with_neg: bool = True

    @classmethod
    def of(
        cls,
        assignment: Assignment,
        priors: Priors,
        gt_instances,
        is_gt: Tensor,
        avg_factor_with_neg: bool,
    ) -> 'SamplingResult':
        """From the assignment of a batch of one."""
        order = torch.argsort(assignment.prior, stable=True)
        pos, gts = assignment.prior[order], assignment.gt[order]
        negative = ~(assignment.positive_mask() | assignment.ignored)[0]
        bboxes, labels = _plain(gt_instances.bboxes), gt_instances.labels
        return cls(
            pos_inds=pos,
            neg_inds=negative.nonzero().squeeze(1),
            pos_assigned_gt_inds=gts,
            pos_gt_bboxes=bboxes.reshape(-1, 4)[gts],
            pos_gt_labels=labels.reshape(-1)[gts],
            all_priors=priors.boxes,
            pos_is_gt=is_gt[pos],
            num_gts=len(labels),
            avg_factor_with_neg=avg_factor_with_neg,
        )

    @property
    def num_pos(self) -> int:
        """P."""
        return self.pos_inds.shape[0]

    @property
    def num_neg(self) -> int:
        """Q."""
        return self.neg_inds.shape[0]

    @property
    def avg_factor(self) -> int:
        """What OpenMMLab's heads divide their losses by."""
        return self.num_pos + self.num_neg if self.avg_factor_with_neg else self.num_pos

    @property
    def pos_priors(self) -> Tensor:
        """``(P, 4)``."""
        return self.all_priors[self.pos_inds]

    @property
    def neg_priors(self) -> Tensor:
        """``(Q, 4)``."""
        return self.all_priors[self.neg_inds]

    @property
    def priors(self) -> Tensor:
        """``(P + Q, 4)`` the chosen priors: positives, then negatives."""
        return torch.cat((self.pos_priors, self.neg_priors))

    @property
    def bboxes(self) -> Tensor:
        """OpenMMLab's older name of :attr:`priors`."""
        return self.priors


def as_inputs(
    assign_result, pred_instances, gt_instances, *, add_gts: bool
) -> tuple[Assignment, Priors, GroundTruth, Tensor]:
    """One image in OpenMMLab's form as a batch of one.

    Returns:
        Assignment, priors, ground truth, and ``(N,)`` uint8, which priors are gts.
    """
    boxes = _plain(pred_instances.priors)
    boxes = boxes.reshape(-1, boxes.shape[-1])[:, :4]
    gt_boxes = _plain(gt_instances.bboxes).reshape(-1, 4)
    gt_inds = assign_result.gt_inds.long()
    is_gt = torch.zeros_like(gt_inds, dtype=torch.uint8)
    if add_gts and len(gt_boxes):
        own = torch.arange(1, len(gt_boxes) + 1, device=gt_inds.device)
        gt_inds = torch.cat((own, gt_inds))
        is_gt = torch.cat((torch.ones_like(own, dtype=torch.uint8), is_gt))
        boxes = torch.cat((gt_boxes.to(boxes.dtype), boxes))
    prior = (gt_inds > 0).nonzero().squeeze(1)
    assignment = Assignment(
        image=torch.zeros_like(prior),
        prior=prior,
        gt=gt_inds[prior] - 1,
        ignored=(gt_inds < 0)[None],
        one_to_one=True,
    )
    priors = Priors(boxes=boxes, strides=torch.ones_like(boxes[:, :2]))
    return assignment, priors, _ground_truth(gt_boxes, gt_instances.labels), is_gt


def _ground_truth(boxes: Tensor, labels: Tensor) -> GroundTruth:
    """A batch of one image, whose size is not known: every box is valid."""
    device, m = boxes.device, len(boxes)
    return GroundTruth(
        boxes=boxes.float()[None],
        labels=labels.reshape(1, -1).long(),
        valid=torch.ones(1, m, dtype=torch.bool, device=device),
        points=((boxes[:, :2] + boxes[:, 2:]) / 2).float()[None],
        groups=torch.full((1, m), -1, device=device),
        ignore_boxes=boxes.new_zeros(1, 0, 4).float(),
        ignore_valid=torch.zeros(1, 0, dtype=torch.bool, device=device),
        image_sizes=torch.zeros(1, 2, device=device),
    )


def _plain(boxes) -> Tensor:
    """The tensor inside an OpenMMLab box object, or the tensor itself."""
    return boxes if isinstance(boxes, Tensor) else boxes.tensor
