"""CenterNet: the cell of the centre, and Gaussian targets of the box's size around it.

Shapes: B images, N priors, M gts, G gts of the batch in one list, L levels, P planes
(the priors of one base size on one level).
"""

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.gaussians import gaussian_radius
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Level, Predictions, Priors
from .base import BaseAssigner
from .candidates.gaussian_targets import Gaussians, draw, planes_of_scale
from .candidates.grid import planes_of
from .candidates.gt_rows import gt_rows
from .fcos import regress_ranges_of

LevelRule = Literal['scale', 'all']


@lru_cache(maxsize=64)
def _range_ends(levels: tuple[Level, ...], device: torch.device) -> Tensor:
    return torch.tensor([high for _, high in regress_ranges_of(levels)]).to(device)


def planes_for(priors: Priors, boxes: Tensor, rule: LevelRule) -> Tensor:
    """``(G, P)`` bool, the planes on which each gt has a target.

    Args:
        priors: Priors on a grid.
        boxes: ``(G, 4)``.
        rule: ``'all'`` levels, or ``'scale'``: the one that FCOS's ranges give to half of
            the longer side.
    """
    if rule == 'all' or len(priors.levels) == 1:
        planes = sum(level.num_base for level in priors.levels)
        return torch.ones(boxes.shape[0], planes, dtype=torch.bool, device=boxes.device)
    return planes_of_scale(priors.levels, boxes, _range_ends(priors.levels, priors.device))


def check_level_rule(rule: str) -> None:
    """Raise :class:`ConfigError` unless ``rule`` is known."""
    if rule not in ('scale', 'all'):
        raise ConfigError(f"level_rule: expected 'scale' or 'all', got {rule!r}")


@TASK_UTILS.register_module()
class CenterNetAssigner(BaseAssigner):
    """The cell that holds a gt's centre is positive; around it the class target falls off.

    The target's value at (dx, dy) cells is ``exp(-(dx^2 + dy^2) / (2 sigma^2))``,
    ``sigma = (2 r + 1) / 6``, within r cells to each side; r is the largest shift of the
    corners that keeps ``min_overlap`` with the box, rounded down. Where Gaussians of one
    class overlap the larger value counts. Several gts may share a cell.

    Zhou et al., Objects as Points, arXiv:1904.07850, section 3; the radius from Law &
    Deng, CornerNet, ECCV 2018, section 3.2.

    A centre on the border of its image, or outside, belongs to the last cell (the
    reference implementation fails there). On a pyramid a gt has its target on one level,
    chosen as in FCOS, by half of its longer side; where cells hold several priors (anchors)
    all of them are positive.

    In plain loops: :func:`registry_losses.testing.reference.assigners.centernet`.

    Args:
        min_overlap: o of :func:`gaussian_radius`: 0.3 in OpenMMLab's CenterNet (and the
            value CornerNet's text gives), 0.7 in the authors' code.
        level_rule: ``'scale'``, or ``'all'`` to put every gt on every level.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Example:
        >>> assigner = CenterNetAssigner(min_overlap=0.3)
    """

    requires_grid = True

    def __init__(
        self,
        min_overlap: float = 0.3,
        level_rule: LevelRule = 'scale',
        *,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        if not 0 < min_overlap < 1:
            raise ConfigError(f'min_overlap: expected within (0, 1), got {min_overlap}')
        check_level_rule(level_rule)
        self.min_overlap = min_overlap
        self.level_rule = level_rule

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        rows = gt_rows(gt)
        planes = planes_of(priors.levels, priors.device)
        points = gt.points[rows.image, rows.index]
        cell = torch.floor(points[:, None] / planes.stride)  # (G, P, 2)
        cell = torch.minimum(cell.clamp(min=0), planes.cells - 1)
        size = (rows.boxes[:, None, 2:] - rows.boxes[:, None, :2]) / planes.stride
        radius = gaussian_radius(size[..., 1], size[..., 0], self.min_overlap).floor()
        drawn = planes_for(priors, rows.boxes, self.level_rule)
        gaussians = Gaussians(
            cell=cell.long(),
            mean=cell,
            radius=radius.long(),
            sigma=(2 * radius + 1) / 6,
            drawn=drawn,
            positive=drawn,
        )
        return draw(priors, rows, gt, gaussians)
