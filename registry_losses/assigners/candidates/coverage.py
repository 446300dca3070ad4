"""Which priors lie in a region of any gt, at a cost in gts plus priors, not their product.

Shapes: B images, N priors, M gts, P planes (the priors of one base size on one level).
"""

from functools import lru_cache

import torch
from torch import Tensor

from ...structures import GroundTruth, Level, Priors
from .centers import Region, bare_blocks, cell_ranges
from .gt_rows import GtRows


def covered_priors(
    priors: Priors, rows: GtRows, gt: GroundTruth, regions: tuple[Region, ...]
) -> Tensor:
    """``(B, N)`` bool: valid priors whose centre lies in any region of any gt of the image.

    On a grid the corners of the windows are marked and summed up over rows and columns,
    at a cost in gts plus priors, not in their product. Does not wait for the device.

    Args:
        priors: The priors.
        rows: The gts that count.
        gt: The batch that they are from.
        regions: Where a prior's centre must lie: in one of them.
    """
    b, n = gt.batch_size, priors.num_priors
    if priors.levels and not priors.per_image:
        out = _paint(priors, rows, b, regions)
    else:
        out = torch.zeros(b, n, dtype=torch.bool, device=priors.device)
        for region in regions:
            for part, mask in bare_blocks(priors, rows, gt, region):
                out[:, part] |= mask.any(dim=1)
    return out if priors.valid is None else out & priors.valid


def _paint(priors: Priors, rows: GtRows, b: int, regions: tuple[Region, ...]) -> Tensor:
    """:func:`covered_priors` of a grid, but for ``priors.valid``: sums of marked corners."""
    first, size, shape = _canvas(priors.levels, b, priors.device)
    corners, signs = [], []
    for region in regions:
        cells = cell_ranges(priors, rows, region)
        one = ((cells.num_x > 0) & (cells.num_y > 0)).int()
        high, wide, step, place = shape  # (P,) each
        top = rows.image[:, None] * high + cells.y
        for y, sign_y in ((top, 1), (top + cells.num_y, -1)):
            left = (y * wide + cells.x) * step + place
            corners += [left, left + cells.num_x * step]
            signs += [one * sign_y, one * -sign_y]
    sums = torch.zeros(size, dtype=torch.int32, device=priors.device)
    sums.index_add_(0, torch.stack(corners).view(-1), torch.stack(signs).view(-1))
    parts = []
    for level, start in zip(priors.levels, first):
        h, w, a = level.height, level.width, level.num_base
        part = sums[start : start + b * (h + 1) * (w + 1) * a].view(b, h + 1, w + 1, a)
        part = part.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
        parts.append((part[:, :h, :w] > 0).reshape(b, -1))
    return torch.cat(parts, dim=1)


@lru_cache(maxsize=64)
def _canvas(
    levels: tuple[Level, ...], b: int, device: torch.device
) -> tuple[list[int], int, Tensor]:
    """Where the corners of windows are painted: grids of one cell more each way, end to end.

    Returns:
        Where each level begins; the length of all; and ``(4, P)`` int64, of each plane the
        rows and the columns of cells, priors per cell, and its prior in the first cell.
    """
    starts, shape, total = [], [], 0
    for level in levels:
        h, w, a = level.height + 1, level.width + 1, level.num_base
        shape += [(h, w, a, total + i) for i in range(a)]
        starts.append(total)
        total += b * h * w * a
    return starts, total, torch.tensor(shape).t().contiguous().to(device)
