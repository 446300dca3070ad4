"""SSD (MultiBox): bipartite matching, best IoU first, then every prior over a threshold.

Shapes: B images, N priors, M gts, G gts of the batch, T pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.device import host_sync_is_free
from ..ops.segments import rank_of, segment_max, split_rank
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.gt_rows import GtRows, gt_rows
from .candidates.prior_overlaps import Overlaps, find_overlaps

# A gt that has no pair left is given those down to this share of its last floor; below the
# second number, all pairs.
_NEXT_FLOOR, _LAST_FLOOR = 0.5, 1e-3


@TASK_UTILS.register_module()
class SSDAssigner(BaseAssigner):
    """One prior for each gt, best pairs first; then every free prior over an IoU threshold.

    SSD's rule, called MultiBox matching:

    1. Bipartite: of all pairs of a free gt and a free prior the one of the highest IoU is
       matched, again and again, until no free gt overlaps a free prior. Of equal IoUs the
       lower gt comes first, then the lower prior.
    2. Every prior still free goes to the gt it overlaps most, if that IoU is over
       ``pos_iou_thr``; of equal ones to the first.

    The rest is negative (a :class:`HardNegativeSampler` then keeps three per positive).
    Liu et al., SSD, arXiv:1512.02325, section 2.2, "Matching strategy".

    A gt that overlaps no free prior (of no area, say) stays unmatched.

    In plain loops: :func:`registry_losses.testing.reference.assigners.ssd`.

    Args:
        pos_iou_thr: IoU over which a free prior is positive.
        ignore_iof_thr: See :class:`BaseAssigner`.
    """

    def __init__(self, pos_iou_thr: float = 0.5, *, ignore_iof_thr: float | None = None) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)
        if not 0 < pos_iou_thr <= 1:
            raise ConfigError(f'pos_iou_thr: expected over 0, up to 1; got {pos_iou_thr}')
        self.pos_iou_thr = pos_iou_thr

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        b, n, device = gt.batch_size, priors.num_priors, priors.device
        rows = gt_rows(gt)
        if n == 0 or rows.num_rows == 0:
            return Assignment.empty(b, n, device)
        found = find_overlaps(priors, gt, rows, self.pos_iou_thr, slack=_NEXT_FLOOR)
        pairs = _to_host(found, rows, n)

        def pairs_down_to(wanted: Tensor, floor: Tensor) -> _Pairs:
            """More pairs of some gts, for the few whose best priors are taken."""
            some = rows.part(wanted.to(device))
            more = find_overlaps(priors, gt, some, floor.to(device), best_too=False)
            host = _to_host(more, some, n)
            return _Pairs(wanted[host.row], host.flat_index, host.rank)

        start = (rows.num_rows, b, n, self.pos_iou_thr)
        row, flat_index = match_bipartite(pairs, *start, pairs_down_to)
        more_row, more_flat = _over_threshold(pairs, flat_index, b * n, self.pos_iou_thr)
        row, flat_index = torch.cat((row, more_row)), torch.cat((flat_index, more_flat))
        row, flat_index = (
            row.to(device, non_blocking=True),
            flat_index.to(device, non_blocking=True),
        )
        image = rows.image[row]
        ignored = torch.zeros(b, n, dtype=torch.bool, device=device)
        return Assignment(image, flat_index - image * n, rows.index[row], ignored, one_to_one=True)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Overlapping pairs, on the host, where the matching goes on in rounds.

    Args:
        row: ``(T,)`` int64, the gt in the list of gts.
        flat_index: ``(T,)`` int64, ``image * N + prior``.
        rank: ``(T,)`` int64 in the order of the IoUs, see :func:`rank_of`.
    """

    row: Tensor
    flat_index: Tensor
    rank: Tensor

    def select(self, keep: Tensor) -> '_Pairs':
        """The pairs at a mask ``(T,)``."""
        at = keep.nonzero().squeeze(1)
        return _Pairs(*(x.index_select(0, at) for x in (self.row, self.flat_index, self.rank)))

    def join(self, other: '_Pairs') -> '_Pairs':
        """One list of both."""
        return _Pairs(
            torch.cat((self.row, other.row)),
            torch.cat((self.flat_index, other.flat_index)),
            torch.cat((self.rank, other.rank)),
        )

    def best_flat(self, num_rows: int) -> tuple[Tensor, Tensor]:
        """``(G,)`` each gt's best IoU (0 if it has no pair), and the lowest prior that has it."""
        best = self.rank.new_zeros(num_rows)
        return split_rank(segment_max(self.rank - self.flat_index, self.row, best))

    def best_rows(self, flat: Tensor, board: Tensor) -> Tensor:
        """The gt that overlaps each prior most, of equal ones the lowest.

        Undefined for priors without a pair.

        Args:
            flat: ``(K,)`` int64.
            board: ``(B * N,)`` int64 to work on.
        """
        board.index_fill_(0, self.flat_index, 0)
        segment_max(self.rank - self.row, self.flat_index, board)
        return split_rank(board.index_select(0, flat))[1]


def _to_host(found: Overlaps, rows: GtRows, num_priors: int) -> _Pairs:
    flat_index = (rows.image * num_priors).index_select(0, found.row).add_(found.prior)
    row, rank = found.row, rank_of(found.iou.clamp(min=0))
    if not host_sync_is_free(rank.device):
        row, flat_index, rank = torch.stack(
            (row, flat_index, rank)
        ).cpu()  # sync: pairs to the host
    pairs = _Pairs(row, flat_index, rank)
    no_overlap = rank_of(torch.zeros(1))
    return pairs if found.num_unmatched == 0 else pairs.select(rank > no_overlap)


def match_bipartite(
    pairs: _Pairs,
    num_rows: int,
    num_images: int,
    num_priors: int,
    complete_above: float,
    pairs_down_to: Callable[[Tensor, Tensor], _Pairs],
) -> tuple[Tensor, Tensor]:
    """Greedy matching by IoU, in rounds.

    A pair that is the best of its gt and of its prior will be picked by the greedy order,
    now or later, so that a round takes all such pairs at once. Pairs of a gt below its
    floor may be missing from the list: so no pair below the highest floor of the image's
    free gts is taken, and a gt that has no free pair above its floor gets a lower floor.

    Args:
        pairs: All pairs of a gt down to ``complete_above``, or down to a share of its
            best pair (``_NEXT_FLOOR``) where that is less; perhaps some lower ones.
        num_rows: G.
        num_images: B.
        num_priors: N.
        complete_above: IoU.
        pairs_down_to: Returns, for the gts in an index ``(G',)``, every pair down to
            the IoUs ``(G',)``.

    Returns:
        ``(K,)`` gt row and ``(K,)`` prior of the matches.
    """
    num_flat = num_images * num_priors
    best, flat_index = pairs.best_flat(num_rows)
    floor = (best * _NEXT_FLOOR).clamp_(0, complete_above)
    free = torch.ones(num_rows, dtype=torch.bool)
    taken = torch.zeros(num_flat, dtype=torch.bool)
    board = torch.zeros(num_flat, dtype=torch.long)
    rows, flat = [pairs.row[:0]], [pairs.flat_index[:0]]
    while True:
        short = free & (floor > 0) & (best < floor)
        if short.any():
            wanted = short.nonzero().squeeze(1)
            lower = floor[wanted] * _NEXT_FLOOR
            floor[wanted] = torch.where(lower > _LAST_FLOOR, lower, 0)
            more = pairs_down_to(wanted, floor[wanted].clamp(min=1e-30))
            more = more.select(~taken[more.flat_index])
            pairs = pairs.select(~short[pairs.row]).join(more)
            best, flat_index = pairs.best_flat(num_rows)
            continue
        row = (best > 0).nonzero().squeeze(1)
        if row.numel() == 0:
            return torch.cat(rows), torch.cat(flat)
        flat_index = flat_index.index_select(0, row)
        image = torch.div(flat_index, num_priors, rounding_mode='floor')
        own = floor.index_select(0, row)
        limit = torch.zeros(num_images).scatter_reduce_(0, image, own, 'amax')
        # The best of their gt that are the best of their prior, too.
        first = best.index_select(0, row) >= limit.index_select(0, image)
        first &= pairs.best_rows(flat_index, board) == row
        row, flat_index = (x[first] for x in (row, flat_index))
        rows.append(row)
        flat.append(flat_index)
        free[row] = False
        taken[flat_index] = True
        keep = free.index_select(0, pairs.row) & ~taken.index_select(0, pairs.flat_index)
        pairs = pairs.select(keep)
        best, flat_index = pairs.best_flat(num_rows)


def _over_threshold(
    pairs: _Pairs, matched: Tensor, num_flat: int, threshold: float
) -> tuple[Tensor, Tensor]:
    """Gt row and prior of the pairs of the second step."""
    taken = torch.zeros(num_flat, dtype=torch.bool)
    taken[matched] = True
    pairs = pairs.select(pairs.rank > rank_of(torch.tensor([threshold])))
    pairs = pairs.select(~taken.index_select(0, pairs.flat_index))
    board = torch.zeros(num_flat, dtype=torch.long)
    pairs = pairs.select(pairs.best_rows(pairs.flat_index, board) == pairs.row)
    return pairs.row, pairs.flat_index
