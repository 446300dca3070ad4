"""Heatmaps: the prior nearest to a joint, and a Gaussian target of fixed width around it.

Shapes: B images, N priors, M gts, G gts of the batch in one list, P planes (the priors
of one base size on one level).
"""

import torch

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.gaussian_targets import Gaussians, draw
from .candidates.grid import planes_of
from .candidates.gt_rows import gt_rows
from .centernet import LevelRule, check_level_rule, planes_for


@TASK_UTILS.register_module()
class GaussianAssigner(BaseAssigner):
    """The prior nearest to a point is positive; around it the class target is a Gaussian.

    The target at (dx, dy) cells from the peak is ``exp(-(dx^2 + dy^2) / (2 sigma^2))``,
    up to ``3 sigma`` cells to each side; where Gaussians of one class overlap the larger
    value counts. The peak is the centre of the prior nearest to ``gt.points``, or with
    ``unbiased`` the point itself, so that the positive's target is below 1.

    Tompson et al., Joint Training of a Convolutional Network and a Graphical Model for
    Human Pose Estimation, NeurIPS 2014; Newell et al., Associative Embedding, NeurIPS
    2017. Unbiased: Huang et al., The Devil is in the Details, CVPR 2020.

    A point within the image always has its positive prior: on the border, that of the last
    cell. A point further outside than half a cell has none, but the part of its Gaussian
    that reaches into the grid counts. Two deviations from MMPose's generator: it lets a point in
    the last half cell before the right or lower border peak off the heatmap; and where 3
    sigma is no whole number its window is one cell longer to the left and to the top, and
    near those borders the Gaussian is displaced by a cell.

    In plain loops: :func:`registry_losses.testing.reference.assigners.gaussian`.

    Args:
        sigma: Width in cells.
        unbiased: Peak at the exact point.
        level_rule: ``'all'`` levels carry every point (as in HigherHRNet), or
            ``'scale'``, the one that suits the gt's box.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Example:
        >>> assigner = GaussianAssigner(sigma=2)
    """

    requires_grid = True

    def __init__(
        self,
        sigma: float = 2.0,
        unbiased: bool = False,
        level_rule: LevelRule = 'all',
        *,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        if sigma <= 0:
            raise ConfigError(f'sigma: expected > 0, got {sigma}')
        check_level_rule(level_rule)
        self.sigma = float(sigma)
        self.unbiased = unbiased
        self.level_rule = level_rule

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        rows = gt_rows(gt)
        planes = planes_of(priors.levels, priors.device)
        points = gt.points[rows.image, rows.index]  # (G, 2)
        exact = points[:, None] / planes.stride - planes.offset[:, None]  # (G, P, 2)
        nearest = torch.floor(exact + 0.5)
        limit = gt.image_sizes.flip(-1)[rows.image]
        inside = ((points >= 0) & (points <= limit)).all(dim=-1)[:, None]  # (G, 1)
        on_grid = torch.minimum(nearest.clamp(min=0), planes.cells - 1)
        cell = torch.where(inside[..., None], on_grid, nearest)
        drawn = planes_for(priors, rows.boxes, self.level_rule)
        gaussians = Gaussians(
            cell=cell.long(),
            mean=exact if self.unbiased else cell,
            radius=torch.full_like(drawn, int(3 * self.sigma), dtype=torch.long),
            sigma=torch.full_like(drawn, self.sigma, dtype=torch.float32),
            drawn=drawn,
            positive=drawn & (inside | (on_grid == nearest).all(dim=-1)),
            reach=int(3 * self.sigma),
        )
        return draw(priors, rows, gt, gaussians)
