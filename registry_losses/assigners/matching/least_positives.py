"""The least number of positives a gt gets: its nearest free priors fill it up.

Shapes: B images, N priors, M gts, G gts that are short of positives, c nearest priors of each.
"""

import torch
from torch import Tensor

from ...errors import ConfigError
from ...ops.device import block_elements
from ...ops.segments import count_of, lowest_k
from .pairs import PairReader, Pairs

# Where more gts than this crowd one place, some stay short.
NEAREST = 64


def check_small(min_positives: int, min_gt_size: float) -> None:
    """Refuse settings for small gts that are below 0.

    Raises:
        ConfigError: Naming the setting.
    """
    if min_positives < 0:
        raise ConfigError(f'min_positives: expected >= 0, got {min_positives}')
    if min_gt_size < 0:
        raise ConfigError(f'min_gt_size: expected pixels >= 0, got {min_gt_size}')


def fill_up(reader: PairReader, pairs: Pairs, least: int) -> Pairs:
    """The pairs, and more of them for every gt that has fewer than ``least``.

    Round by round each gt that is short claims the prior nearest to its position that is
    positive for no gt, of equally near ones the lower; of several gts that claim one prior
    the nearest gets it, of equally near ones the lower. A gt stays short when its
    :data:`NEAREST` nearest priors are taken.

    Args:
        reader: The batch.
        pairs: One gt a prior.
        least: The least number; 0 changes nothing.
    """
    if least == 0:
        return pairs
    gt, n = reader.gt, reader.priors.num_priors
    count = count_of(pairs.gt_at, gt.batch_size * gt.max_gts)
    short = (
        (gt.valid.reshape(-1) & (count < least)).nonzero().squeeze(1)
    )  # sync: gts that are short
    if short.numel() == 0:
        return pairs
    distance, flat_index = _nearest(reader, short, max(least, NEAREST))  # (G, c)
    missing = least - count[short]
    taken = torch.zeros(gt.batch_size * n, dtype=torch.bool, device=short.device)
    taken[pairs.flat_index] = True
    parts = [pairs]
    while True:
        free = torch.isfinite(distance) & ~taken[flat_index]
        row = (free.any(dim=1) & (missing > 0)).nonzero().squeeze(1)  # sync: once a round
        if row.numel() == 0:
            return Pairs.cat(parts)
        place = free.to(torch.uint8).argmax(dim=1)[row]
        wanted, far = flat_index[row, place], distance[row, place]
        order = torch.argsort(far, stable=True)
        order = order[torch.argsort(wanted[order], stable=True)]
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = wanted[order][1:] != wanted[order][:-1]
        winner = order[first]
        parts.append(reader.pairs_at(short[row[winner]], wanted[winner]))
        taken[wanted] = True
        missing[row[winner]] -= 1


def _nearest(reader: PairReader, gt_at: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``(G, c)`` squared distances, ascending (inf: no prior), and ``(G, c)`` flat indices."""
    priors, gt = reader.priors, reader.gt
    n = priors.num_priors
    k = min(k, n)
    image = torch.div(gt_at, gt.max_gts, rounding_mode='floor')
    points = gt.points.reshape(-1, 2)[gt_at].float()
    tie = torch.arange(n, device=gt_at.device)
    found = []
    step = max(block_elements(gt_at.device) // n, 1)
    for start in range(0, gt_at.shape[0], step):
        rows = slice(start, start + step)
        centers = priors.centers[image[rows]] if priors.per_image else priors.centers[None]
        x, y = (centers - points[rows, None]).unbind(-1)
        distance = x * x + y * y  # (g, N)
        if priors.valid is not None:
            distance = torch.where(priors.valid[image[rows]], distance, torch.inf)
        found.append(lowest_k(distance, tie, k, dim=1))
    distance, prior = (torch.cat(part) for part in zip(*found))
    return distance, prior + (image * n)[:, None]
