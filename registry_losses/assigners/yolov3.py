"""YOLOv3: the anchor of the best shape, in the cell that holds the gt's centre.

Shapes: B images, N priors, M gts, G gts of the batch, P planes (the
priors of one base size on one level).
"""

import torch

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.grid import center_priors, planes_of
from .candidates.gt_rows import gt_rows
from .candidates.predictions_over import predictions_over
from .conflicts import resolve_conflicts


@TASK_UTILS.register_module()
class YOLOV3Assigner(BaseAssigner):
    """Each gt takes the anchor of the most similar shape, in the cell of its centre.

    The gt and each of the anchors of all levels (9 in YOLOv3) are compared as if they
    shared their centres, ``IoU = i / (w h + W H - i)``, ``i = min(w, W) min(h, H)``; of
    equal ones the first is taken, on its level, in the cell that holds the gt's centre.
    Of two gts with the same prior the one of the better shape has it, of equal ones the
    first; the other has no positive. A prior without a gt whose *prediction* overlaps any gt
    by more than ``ignore_thr`` is ignored. The rest is negative.

    Redmon and Farhadi, YOLOv3, arXiv:1804.02767, section 2.1.

    A centre on the right or lower border of the grid, or beyond, belongs to the last
    cell.

    In plain loops: :func:`registry_losses.testing.reference.assigners.yolov3`.

    Args:
        ignore_thr: IoU over which a prediction is too good to be a negative.
        ignore_iof_thr: See :class:`BaseAssigner`.
    """

    needs = frozenset({'predictions'})
    requires_grid = True

    def __init__(self, ignore_thr: float = 0.5, *, ignore_iof_thr: float | None = None) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)
        if ignore_thr < 0:
            raise ConfigError(f'ignore_thr: expected at least 0, got {ignore_thr}')
        self.ignore_thr = ignore_thr

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        assert predictions is not None  # __call__ sees to it
        b, n = gt.batch_size, priors.num_priors
        rows = gt_rows(gt)
        if n == 0 or rows.num_rows == 0:
            return Assignment.empty(b, n, priors.device)
        ignored = predictions_over(predictions, gt, self.ignore_thr)
        grid = planes_of(priors.levels, priors.device)
        size = rows.boxes[:, 2:] - rows.boxes[:, :2]
        common = torch.minimum(size[:, None], grid.size).prod(dim=-1)  # (G, P)
        union = size.prod(dim=-1)[:, None] + grid.area - common
        shape = common / union.clamp(min=1e-6)
        best = shape.amax(dim=1)
        column = torch.arange(shape.shape[1], device=shape.device)
        plane = torch.where(shape == best[:, None], column, shape.shape[1]).amin(dim=1)
        prior_index = center_priors(priors, rows.centers)
        flat_index = prior_index.gather(1, plane[:, None])[:, 0] + rows.image * n
        keep = rows.valid
        if priors.valid is not None:
            keep = keep & priors.valid.reshape(-1).index_select(0, flat_index)
        claim = torch.where(keep, best, -1)
        wins = resolve_conflicts(flat_index, claim, rows.index, b * n) & keep
        pair = wins.nonzero().squeeze(1)  # sync: compact pairs
        image = rows.image[pair]
        return Assignment(
            image, flat_index[pair] - image * n, rows.index[pair], ignored, one_to_one=True
        )
