"""Ranks within images, and the best few of each image, without a loop over images.

Shapes: B images, N priors, K pairs.
"""

import torch
from torch import Tensor

from ..ops.segments import pack
from ..structures import Assignment


def prior_ranks(assignment: Assignment, priority: Tensor) -> tuple[Tensor, Tensor]:
    """Rank of each pair's prior among the positive priors of its image.

    The pairs of one prior have one rank. Equal priorities: the lower prior first.

    Args:
        assignment: K pairs.
        priority: ``(K,)`` int64 in [0, 2^32), smaller first, equal for pairs of a prior.

    Returns:
        ``(K,)`` int64 ranks from 0; ``(B,)`` int64 number of positive priors.
    """
    image, flat_index = assignment.image, assignment.flat_index
    order = torch.argsort(flat_index, stable=True)
    by_key = torch.argsort(pack(image[order], priority[order]), stable=True)
    order = order[by_key]
    flat_index, image = flat_index[order], image[order]
    new = torch.ones_like(flat_index)
    new[1:] = flat_index[1:] != flat_index[:-1]
    counts = torch.zeros(assignment.batch_size, dtype=torch.long, device=flat_index.device)
    counts.index_add_(0, image, new)
    before = (counts.cumsum(0) - counts)[image]
    ranks = torch.empty_like(flat_index)
    ranks[order] = new.cumsum(0) - 1 - before
    return ranks, counts


def take_smallest(keys: Tensor, candidates: Tensor, count: Tensor, limit: int) -> Tensor:
    """The ``count`` candidates of each image with the smallest keys.

    Args:
        keys: ``(B, N)`` int32 or int64, distinct within an image.
        candidates: ``(B, N)`` bool.
        count: ``(B,)`` int64.
        limit: No count is larger.

    Returns:
        ``(B, N)`` bool.
    """
    k = max(0, min(limit, keys.shape[1]))
    chosen = torch.zeros_like(candidates)
    if not k:
        return chosen
    masked = torch.where(candidates, keys, torch.iinfo(keys.dtype).max)
    best = masked.topk(k, dim=1, largest=False).indices
    wanted = torch.arange(k, device=keys.device) < count[:, None]
    return chosen.scatter_(1, best, wanted) & candidates
