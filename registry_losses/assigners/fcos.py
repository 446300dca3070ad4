"""FCOS: points inside a box, on the level whose range holds their regression distance.

Shapes: B images, N priors, M gts, G gts of the batch in one list, L levels, T candidate
pairs, K pairs.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Level, Predictions, Priors
from .base import BaseAssigner
from .candidates.centers import (
    Candidates,
    Region,
    around_center,
    find_candidates,
    inside_both,
    inside_box,
)
from .candidates.gt_rows import gt_rows
from .conflicts import winners

# Upper end of a level's range in strides: FCOS regresses up to 64 pixels at stride 8.
RANGE_STRIDES = 8.0


def regress_ranges_of(levels: Sequence[Level]) -> tuple[tuple[float, float], ...]:
    """FCOS's ranges for any pyramid: up to 8 strides, each level from where the last ends.

    Strides 8 to 128 give the paper's (-1, 64), (64, 128), (128, 256), (256, 512),
    (512, inf). Without a grid there is one level, which takes everything.
    """
    highs = [RANGE_STRIDES * max(level.stride) for level in levels[:-1]] + [float('inf')]
    lows = [-1.0, *highs[:-1]]
    return tuple(zip(lows, highs))


@lru_cache(maxsize=64)
def _range_tensor(ranges: tuple[tuple[float, float], ...], device: torch.device) -> Tensor:
    return torch.tensor(ranges, dtype=torch.float32).to(device)  # (L, 2)


def regression_reach(points: Tensor, boxes: Tensor) -> Tensor:
    """``max(l, t, r, b)``, the largest distance from a point to a side of its box; ``(T,)``."""
    far = torch.maximum(points - boxes[:, :2], boxes[:, 2:] - points)
    return far.amax(dim=-1)


def in_range_region(region: Region, ranges: Tensor) -> Region:
    """The part of ``region`` where ``max(l, t, r, b)`` can lie in the level's range.

    The bound is half a stride wider than the exact one; it only saves enumerating priors
    that the exact test would drop.

    Args:
        region: The region to cut.
        ranges: ``(L, 2)`` pixels.
    """
    low_range, high_range = ranges[:, 0], ranges[:, 1]

    def cut(boxes: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        low, high = region(boxes, points, strides)
        slack = strides / 2
        reach = high_range[:, None] + slack
        low = torch.maximum(low, boxes[..., 2:] - reach)
        high = torch.minimum(high, boxes[..., :2] + reach)
        longest = (boxes[..., 2:] - boxes[..., :2]).amax(dim=-1) + slack.amax(dim=-1)
        too_small = longest < low_range
        return low, torch.where(too_small[..., None], low, high)

    return cut


@TASK_UTILS.register_module()
class FCOSAssigner(BaseAssigner):
    """A prior whose centre lies inside a gt is positive on the level for the gt's size.

    A candidate for a gt is a prior whose centre lies strictly inside the gt's box (with
    ``center_sampling``: also strictly within ``center_sample_radius`` strides of the
    box's centre) and whose largest distance to a side, ``max(l, t, r, b)``, lies in the
    closed range of its level. Of several gts the one of the smallest area wins; of equal
    areas, the first.

    Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019,
    sections 3.1 and 3.2; centre sampling from the journal version, TPAMI 2020. How targets
    are normalised (OpenMMLab's ``norm_on_bbox``) is up to the coder.

    A box of 1e8 square pixels or more is matched as any other (the reference
    implementation of OpenMMLab takes it for background, because that is its infinity).

    In plain loops: :func:`registry_losses.testing.reference.assigners.fcos`.

    Args:
        regress_ranges: Closed (from, to) in pixels for each level. By default 8 strides
            up, which for strides 8 to 128 is the paper's -1, 64, 128, 256, 512, inf.
            Without a grid all priors count as one level, which takes every size.
        center_sampling: Keep only priors near the centre of the box.
        center_sample_radius: Largest distance from the centre, in strides.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Example:
        >>> assigner = FCOSAssigner(center_sampling=True, center_sample_radius=1.5)
    """

    priors_form = 'points'
    returns_sorted = True

    def __init__(
        self,
        regress_ranges: Sequence[tuple[float, float]] | None = None,
        center_sampling: bool = False,
        center_sample_radius: float = 1.5,
        *,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        if center_sample_radius <= 0:
            raise ConfigError(f'center_sample_radius: expected > 0, got {center_sample_radius}')
        self.regress_ranges = regress_ranges and tuple(
            (float(low), float(high)) for low, high in regress_ranges
        )
        self.center_sampling = center_sampling
        self.center_sample_radius = center_sample_radius

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        rows = gt_rows(gt)
        ranges = self._ranges(priors)
        region: Region = inside_box
        if self.center_sampling:
            region = inside_both(inside_box, around_center(self.center_sample_radius))
        # Validity is tested below, to wait for the device no third time.
        region = in_range_region(region, ranges)
        found = find_candidates(priors.with_valid(None), rows, gt, region)
        boxes = rows.boxes.index_select(0, found.row)
        keep = self._in_range(priors, found, boxes, ranges)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        flat_index = found.image * priors.num_priors + found.prior
        if priors.valid is not None:
            keep &= priors.valid.reshape(-1).index_select(0, flat_index)
        b, n = gt.batch_size, priors.num_priors
        won, owner = winners(flat_index, areas, found.gt, b * n, largest=False, claims=keep)
        image = torch.div(won, n, rounding_mode='floor')
        ignored = torch.zeros(b, n, dtype=torch.bool, device=priors.device)
        return Assignment(image, won - image * n, owner, ignored, one_to_one=True)

    def _ranges(self, priors: Priors) -> Tensor:
        ranges = self.regress_ranges or regress_ranges_of(priors.levels)
        levels = max(len(priors.levels), 1)
        if len(ranges) != levels:
            raise ConfigError(
                f'regress_ranges: expected one range for each of the {levels} levels of the '
                f'head, got {len(ranges)}; leave it out to derive them from the strides'
            )
        return _range_tensor(ranges, priors.device)

    @staticmethod
    def _in_range(priors: Priors, found: Candidates, boxes: Tensor, ranges: Tensor) -> Tensor:
        points = priors.centers_at(found.image, found.prior)
        reach = regression_reach(points, boxes)
        if ranges.shape[0] == 1:
            low, high = ranges[0]
        else:
            level = priors.level_ids.index_select(0, found.prior)
            low, high = ranges.index_select(0, level).unbind(-1)
        return (reach >= low) & (reach <= high)
