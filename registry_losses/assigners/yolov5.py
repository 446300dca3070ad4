"""YOLOv5: anchors of a similar shape, in the centre's cell and its nearest neighbours.

Shapes: B images, N priors, M gts, G gts of the batch, P planes (the
priors of one base size on one level), T pairs of a gt and a plane.
"""

from functools import lru_cache

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.device import host_sync_is_free
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.grid import planes_of
from .candidates.gt_rows import GtRows, gt_rows

# The cell itself, then its neighbours to the left, right, top and bottom, as steps in cells.
_NEIGHBOURS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


@lru_cache(maxsize=16)
def _neighbours(device: torch.device) -> Tensor:
    """``(5, 2)``, kept on the device."""
    return torch.tensor(_NEIGHBOURS, dtype=torch.float32).to(device)


@TASK_UTILS.register_module()
class YOLOV5Assigner(BaseAssigner):
    """Each gt takes all anchors of a similar shape, in its centre's cell and its neighbours.

    A gt may take many priors, and a prior may belong to many gts.

    An anchor of size (W, H) fits a gt of size (w, h) when
    ``max(w / W, W / w, h / H, H / h) < prior_match_thr``. Each anchor that fits is
    positive, on its level, in the cell that holds the gt's centre and in the neighbours
    that are nearer to it than ``near_neighbor_thr`` cells: the left one if the centre is
    in the left half of its cell, else the right one, and likewise up or down. The rest
    is negative.

    As in the released code of Ultralytics' YOLOv5 (there is no paper) and in MMYOLO,
    whose float32 operations these are. A centre exactly between two cells takes its own
    cell and the left one, and there also counts its own cell once more (the right
    neighbour, computed by truncation, is the cell itself): such pairs occur twice here
    too.

    Deviation: those implementations crash on a centre outside the grid. Here it belongs
    to the border's cell, without neighbours on that axis.

    In plain loops: :func:`registry_losses.testing.reference.assigners.yolov5`.

    Args:
        prior_match_thr: Largest ratio of sides.
        near_neighbor_thr: In cells; 0.5 gives one neighbour an axis.
        ignore_iof_thr: See :class:`BaseAssigner`.
    """

    requires_grid = True

    def __init__(
        self,
        prior_match_thr: float = 4.0,
        near_neighbor_thr: float = 0.5,
        *,
        ignore_iof_thr: float | None = None,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)
        if prior_match_thr <= 1 or not 0 <= near_neighbor_thr <= 1:
            raise ConfigError(
                'expected prior_match_thr > 1 and near_neighbor_thr in [0, 1], got '
                f'{prior_match_thr} and {near_neighbor_thr}'
            )
        self.prior_match_thr = prior_match_thr
        self.near_neighbor_thr = near_neighbor_thr

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        b, n = gt.batch_size, priors.num_priors
        rows = gt_rows(gt)
        if n == 0 or rows.num_rows == 0:
            return Assignment.empty(b, n, priors.device)
        fits = self._fits(priors, rows)  # (G, P)
        planes = fits.shape[1]
        match = torch.arange(fits.numel(), device=fits.device)
        if host_sync_is_free(fits.device):
            match = fits.reshape(-1).nonzero().squeeze(1)
        row = torch.div(match, planes, rounding_mode='floor')
        prior_index, wanted = self._cells(priors, rows.centers[row], match - row * planes)  # (T, 5)
        wanted &= fits.reshape(-1).index_select(0, match)[:, None]
        image = rows.image.index_select(0, row)
        if priors.valid is not None:
            flat = (prior_index + image[:, None] * n).reshape(-1)
            wanted &= priors.valid.reshape(-1).index_select(0, flat).view_as(wanted)
        pair = wanted.reshape(-1).nonzero().squeeze(1)  # sync: compact pairs
        prior = prior_index.reshape(-1).index_select(0, pair)
        at = torch.div(pair, wanted.shape[1], rounding_mode='floor')
        index = rows.index.index_select(0, row)
        ignored = torch.zeros(b, n, dtype=torch.bool, device=priors.device)
        return Assignment(image.index_select(0, at), prior, index.index_select(0, at), ignored)

    def _fits(self, priors: Priors, rows: GtRows) -> Tensor:
        """``(G, P)`` bool, the anchors of a similar shape."""
        grid = planes_of(priors.levels, priors.device)
        size = rows.boxes[:, 2:] - rows.boxes[:, :2]
        similar = rows.valid[:, None]
        for axis in (0, 1):
            # Scaled by way of shares of the extent: the order of operations decides ties.
            stride, cells = grid.stride[:, axis], grid.cells[:, axis]
            scaled = size[:, axis, None] / (stride * cells) * cells
            ratio = scaled / (grid.size[:, axis] / stride)
            similar = similar & (torch.maximum(ratio, 1 / ratio) < self.prior_match_thr)
        return similar

    def _cells(self, priors: Priors, centers: Tensor, plane: Tensor) -> tuple[Tensor, Tensor]:
        """``(T, 5)`` priors of the cell and its neighbours, and which are taken."""
        grid = planes_of(priors.levels, priors.device)
        thr = self.near_neighbor_thr
        shift = _neighbours(centers.device) * thr
        prior_index = grid.first.index_select(0, plane)[:, None]
        taken = [torch.ones_like(plane, dtype=torch.bool)]
        for axis in (0, 1):
            stride = grid.stride[:, axis].index_select(0, plane)
            cells = grid.cells[:, axis].index_select(0, plane)
            center = centers[:, axis] / (stride * cells) * cells
            inside = (center >= 0) & (center < cells)
            rest = cells - center
            taken.append((center % 1 < thr) & (center > 1) & inside)
            taken.append((rest % 1 < thr) & (rest > 1) & inside)
            cell = (center[:, None] + shift[:, axis]).trunc_().clamp_(min=0)  # (T, 5)
            cell = torch.minimum(cell, cells[:, None] - 1).long()
            prior_index = prior_index + cell * grid.step[:, axis].index_select(0, plane)[:, None]
        return prior_index, torch.stack(taken, dim=1)
