"""YOLOv1: the cell that holds a gt's centre, and of its predictors the best one.

Shapes: B images, N priors, M gts, G gts of the batch, P planes (the
priors of one base size on one level).
"""

import torch

from ..ops.iou import bbox_overlaps
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.grid import center_priors
from .candidates.gt_rows import gt_rows
from .conflicts import resolve_conflicts


@TASK_UTILS.register_module()
class YOLOV1Assigner(BaseAssigner):
    """Each gt takes the prior of its centre's cell whose predicted box overlaps it most.

    The B predictors of the cell that holds the gt's centre compete by the IoU of their
    predicted box with the gt; of equal ones (none overlaps it, say) the first is
    responsible. All other priors are negative. On other heads every prior of every level
    whose cell holds the centre competes. A prior that is the best for several gts goes to
    the one of the highest IoU, of equal ones the first; the others have no positive.

    Redmon et al., You Only Look Once, arXiv:1506.02640, section 2.2.

    A centre on the right or lower border of the grid, or beyond, belongs to the last
    cell.

    In plain loops: :func:`registry_losses.testing.reference.assigners.yolov1`.

    Args:
        ignore_iof_thr: See :class:`BaseAssigner`.
    """

    needs = frozenset({'predictions'})
    requires_grid = True

    def __init__(self, *, ignore_iof_thr: float | None = None) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        assert predictions is not None  # __call__ sees to it
        b, n = gt.batch_size, priors.num_priors
        rows = gt_rows(gt)
        if n == 0 or rows.num_rows == 0:
            return Assignment.empty(b, n, priors.device)
        prior_index = center_priors(priors, rows.centers) + rows.image[:, None] * n  # (G, P)
        boxes = predictions.boxes.reshape(-1, 4)[prior_index]
        iou = bbox_overlaps(boxes, rows.boxes[:, None])[..., 0]
        keep = rows.valid[:, None]
        if priors.valid is not None:
            keep = keep & priors.valid.reshape(-1)[prior_index]
        iou = torch.where(keep, iou, -1)
        best = iou.amax(dim=1)  # (G,)
        # Planes ascend with the priors: the lowest prior among equals.
        lowest = torch.where(iou == best[:, None], prior_index, b * n).amin(dim=1)
        wins = resolve_conflicts(lowest, best, rows.index, b * n) & (best >= 0)
        pair = wins.nonzero().squeeze(1)  # sync: compact pairs
        image = rows.image[pair]
        ignored = torch.zeros(b, n, dtype=torch.bool, device=priors.device)
        return Assignment(
            image, lowest[pair] - image * n, rows.index[pair], ignored, one_to_one=True
        )
