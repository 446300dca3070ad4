"""The priors block by block, and the one nearest to a gt.

Shapes: B images, N priors, n priors of a block, M gts, G gts of the batch in one list.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ...ops.boxes import corners_of
from ...ops.device import block_elements
from ...structures import Priors
from .gt_rows import GtRows


def prior_chunks(priors: Priors, gt_count: int, batch_size: int) -> Iterator[slice]:
    """Slices of the priors such that a ``(B, n, M)`` block stays small.

    Args:
        priors: The priors.
        gt_count: M.
        batch_size: B.
    """
    step = max(block_elements(priors.device) // max(gt_count * batch_size, 1), 1)
    for start in range(0, priors.num_priors, step):
        yield slice(start, min(start + step, priors.num_priors))


def corners_of_priors(priors: Priors) -> Tensor:
    """:func:`corners_of` priors that all images share."""
    return priors.once('corners', lambda own: corners_of(own.boxes))


def batched_boxes(priors: Priors, batch_size: int, part: slice = slice(None)) -> Tensor:
    """``(B, n, 4)`` boxes of some priors, one copy shared where images share them."""
    return priors.boxes[..., part, :].expand(batch_size, -1, 4)


def nearest_priors(priors: Priors, rows: GtRows) -> tuple[Tensor, Tensor]:
    """For each gt the candidate whose centre is nearest to its own, found block by block.

    Args:
        priors: Priors that are not ``valid`` do not count.
        rows: The gts.

    Returns:
        ``(G,)`` int64 prior, of equally near ones the first; ``(G,)`` bool, whether the
        image has a candidate at all.
    """
    image, center = rows.image, rows.centers
    best = center.new_full((rows.num_rows,), torch.inf)
    nearest = torch.zeros_like(image)
    for part in prior_chunks(priors, rows.num_rows, 1):
        points = priors.centers[..., part, :]
        points = points[image] if priors.per_image else points[None]
        distance = (points - center[:, None]).square().sum(dim=-1)  # (G, n)
        if priors.valid is not None:
            distance = torch.where(priors.valid[image, part], distance, torch.inf)
        value = distance.amin(dim=1)
        row = torch.arange(part.start, part.stop, device=image.device)
        first = torch.where(distance == value[:, None], row, priors.num_priors).amin(dim=1)
        nearest = torch.where(value < best, first, nearest)
        best = torch.minimum(best, value)
    return nearest, torch.isfinite(best)
