"""YOLOV5Assigner: anchors of a similar shape, in the centre's cell and its neighbours.

Shapes: B images, N slots, M gts, G gts of the batch, C (level, base size) combinations.
"""

from functools import lru_cache

import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .common import GtRows, gt_rows
from .grid import combinations

# The cell itself, then left, up, right, down: which way it lies, in cells.
_NEIGHBOURS = ((0, 0), (-1, 0), (0, -1), (1, 0), (0, 1))


@lru_cache(maxsize=16)
def _neighbours(device: torch.device) -> Tensor:
    """``(5, 2)``, kept on the device."""
    return torch.tensor(_NEIGHBOURS, dtype=torch.float32).to(device)


@TASK_UTILS.register_module()
class YOLOV5Assigner(BaseAssigner):
    """Many slots a gt, many gts a slot.

    An anchor of size (W, H) fits a gt of size (w, h) when
    ``max(w / W, W / w, h / H, H / h) < prior_match_thr``. Each anchor that fits is
    positive, on its level, in the cell that holds the gt's centre and in the neighbours
    that are nearer to it than ``near_neighbor_thr`` cells: the left one if the centre is
    in the left half of its cell, else the right one, and likewise up or down. The rest
    is negative.

    As in the released code of Ultralytics' YOLOv5 (there is no paper) and in MMYOLO,
    whose float32 operations these are. A centre exactly between two cells takes its own
    cell and the left one, and there also counts its own cell once more (the right
    neighbour, computed by truncation, is the cell itself): such pairs stand twice here
    too.

    Deviation: those implementations crash on a centre outside the grid. Here it belongs
    to the border's cell, without neighbours on that axis.

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
        slots, wanted = self._slots(priors, rows)  # (G, C, 5)
        wanted = wanted & rows.valid[:, None, None]
        if priors.valid is not None:
            flat = (slots + rows.image[:, None, None] * n).reshape(-1)
            wanted &= priors.valid.reshape(-1).index_select(0, flat).view_as(wanted)
        pair = wanted.reshape(-1).nonzero().squeeze(1)  # sync: compact pairs
        row = torch.div(pair, wanted[0].numel(), rounding_mode='floor')
        ignored = torch.zeros(b, n, dtype=torch.bool, device=priors.device)
        prior = slots.reshape(-1).index_select(0, pair)
        return Assignment(
            rows.image.index_select(0, row), prior, rows.index.index_select(0, row), ignored
        )

    def _slots(self, priors: Priors, rows: GtRows) -> tuple[Tensor, Tensor]:
        """``(G, C, 5)`` slots of the cell and its neighbours, and which are taken."""
        grid = combinations(priors.levels, priors.device)
        extent = grid.stride * grid.cells  # (C, 2) pixels
        # Scaled by way of shares of the extent: the order of operations decides ties.
        size = (rows.boxes[:, 2:] - rows.boxes[:, :2])[:, None] / extent * grid.cells
        ratio = size / (grid.size / grid.stride)
        fits = torch.maximum(ratio, 1 / ratio).amax(dim=-1) < self.prior_match_thr  # (G, C)
        center = rows.centers[:, None] / extent * grid.cells  # (G, C, 2), in cells
        inside = (center >= 0) & (center < grid.cells)
        thr, rest = self.near_neighbor_thr, grid.cells - center
        low = (center % 1 < thr) & (center > 1) & inside
        high = (rest % 1 < thr) & (rest > 1) & inside
        taken = torch.stack(
            (torch.ones_like(fits), low[..., 0], low[..., 1], high[..., 0], high[..., 1]), dim=-1
        )
        shift = _neighbours(center.device) * thr
        cell = (center[:, :, None] + shift).trunc().clamp_(min=0)  # (G, C, 5, 2)
        cell = torch.minimum(cell, grid.cells[:, None] - 1).long()
        slots = grid.first[:, None] + (cell * grid.step[:, None]).sum(dim=-1)
        return slots, taken & fits[..., None]
