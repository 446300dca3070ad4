"""RepPoints: the points nearest to a gt's centre, on the level of its size.

Shapes: B images, N priors, M gts, G gts of the batch, k positives of a gt.
"""

import math

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.device import host_sync_is_free
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.gt_rows import GtRows, gt_rows
from .candidates.nearest import nearest_topk
from .candidates.windows import Search, Targets
from .conflicts import resolve_conflicts


@TASK_UTILS.register_module()
class PointAssigner(BaseAssigner):
    """Each gt takes the ``pos_num`` points nearest to its centre, on the level of its size.

    A gt of size (w, h) belongs to level ``trunc((log2(w / scale) + log2(h / scale)) / 2)``,
    clamped to the levels there are, where a point of stride s is on level
    ``trunc(log2 s)``. Distance is measured in units of the gt's size,
    ``|((x - cx) / w, (y - cy) / h)|``. A point that several gts want goes to the nearest
    of them, of equally near ones to the first.

    Yang et al., RepPoints, arXiv:1904.11490, and the assignment of its released
    implementation.

    For a gt without width or height, whose sides count as 1e-6, many points are equally near
    within float32; rounding then decides between them.

    Priors without a grid are grouped into levels by their own strides. Two levels of a
    grid with the same number are both searched for its gts.

    In plain loops: :func:`registry_losses.testing.reference.assigners.point`.

    Args:
        scale: Size in pixels of a gt on level 0.
        pos_num: Points that a gt takes.
    """

    priors_form = 'points'

    def __init__(
        self, scale: float = 4, pos_num: int = 3, *, ignore_iof_thr: float | None = None
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)
        if scale <= 0 or pos_num < 1:
            raise ConfigError(f'expected scale > 0 and pos_num >= 1, got {scale} and {pos_num}')
        self.scale = scale
        self.pos_num = pos_num

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        b, n = gt.batch_size, priors.num_priors
        rows = gt_rows(gt)
        if n == 0 or rows.num_rows == 0:
            return Assignment.empty(b, n, priors.device)
        size = (rows.boxes[:, 2:] - rows.boxes[:, :2]).clamp(min=1e-6)
        targets = Targets(rows.image, rows.centers, size)
        level = (torch.log2(size / self.scale).sum(dim=1) / 2).trunc()
        if priors.levels and not priors.per_image:
            groups = _grid_groups(priors)
        else:
            groups = _bare_groups(priors, b)
        lowest, highest = groups[0][0], groups[-1][0]
        level = level.clamp(lowest, highest)
        prior, exists = self._search(groups, targets, level)
        return self._pairs(priors, gt, rows, targets, prior, exists)

    def _search(
        self, groups: list[tuple[int, Priors, int, int]], targets: Targets, level: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``(G, K)`` nearest priors of each gt's level, and which of them exist."""
        members = [level == group[0] for group in groups]
        if not host_sync_is_free(level.device):
            searches = [Search(some, targets, *span) for _, some, *span in groups]
            found = nearest_topk(searches, self.pos_num)
            own_level = [real & mine[:, None] for (_, real), mine in zip(found, members)]
            return torch.cat([prior for prior, _ in found], dim=1), torch.cat(own_level, dim=1)
        own = [mine.nonzero().squeeze(1) for mine in members]
        searches = [
            Search(some, targets.at(at), *span) for (_, some, *span), at in zip(groups, own)
        ]
        prior = targets.image.new_zeros(len(level), 0)
        exists = torch.zeros_like(prior, dtype=torch.bool)
        for at, (prior_index, real) in zip(own, nearest_topk(searches, self.pos_num)):
            shape = (len(level), prior_index.shape[1])
            prior = torch.cat(
                (prior, prior_index.new_zeros(shape).index_copy_(0, at, prior_index)), dim=1
            )
            exists = torch.cat((exists, real.new_zeros(shape).index_copy_(0, at, real)), dim=1)
        return prior, exists

    def _pairs(
        self,
        priors: Priors,
        gt: GroundTruth,
        rows: GtRows,
        targets: Targets,
        prior: Tensor,
        exists: Tensor,
    ) -> Assignment:
        """The claims ``(G, K)`` that stand."""
        n, (g, k) = priors.num_priors, prior.shape
        row = torch.arange(g, device=prior.device)[:, None].expand(g, k)
        image = rows.image[:, None].expand(g, k).reshape(-1)
        points = priors.centers_at(image, prior.reshape(-1)).view(g, k, 2)
        exists = (exists & rows.valid[:, None]).reshape(-1)
        distance = torch.where(exists, targets.distances(points).reshape(-1), torch.inf)
        index = rows.index.index_select(0, row.reshape(-1))
        flat_index = image * n + prior.reshape(-1)
        wins = resolve_conflicts(flat_index, distance, index, gt.batch_size * n, largest=False)
        pair = (wins & exists).nonzero().squeeze(1)  # sync: compact pairs
        return Assignment(
            image.index_select(0, pair),
            prior.reshape(-1).index_select(0, pair),
            index.index_select(0, pair),
            torch.zeros(gt.batch_size, n, dtype=torch.bool, device=prior.device),
            one_to_one=True,
        )

    def _max_overlaps(
        self,
        pairs: Assignment,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
    ) -> Tensor | None:
        return None  # as in OpenMMLab: points overlap nothing


def _grid_groups(priors: Priors) -> list[tuple[int, Priors, int, int]]:
    """(level number, priors, first prior, priors) of each level, by number."""
    numbers = [math.trunc(math.log2(level.stride[0])) for level in priors.levels]
    spans = zip(numbers, priors.level_starts, priors.level_sizes)
    return sorted(((i, priors, first, size) for i, first, size in spans), key=lambda g: g[0])


def _bare_groups(priors: Priors, batch_size: int) -> list[tuple[int, Priors, int, int]]:
    """The same by the priors' own strides."""
    number = torch.log2(priors.strides[..., 0]).trunc().long()
    groups = []
    for value in torch.unique(number).tolist():  # sync: the levels there are
        member = number == value
        if member.dim() == 1:
            at = member.nonzero().squeeze(1)  # sync: the priors of a level
            first, last = int(at[0]), int(at[-1])
            if last - first + 1 == at.shape[0]:
                groups.append((value, priors, first, at.shape[0]))
                continue
            member = member[None]
        member = member.expand(batch_size, -1)
        valid = member if priors.valid is None else member & priors.valid
        groups.append((value, priors.with_valid(valid), 0, priors.num_priors))
    return groups
