"""Dynamic-k matching by a cost: what SimOTA and DynamicSoftLabel share.

Each gt takes its k cheapest priors, k the rounded sum of its best IoUs; a prior that several
gts take goes to the gt for which it is cheapest. The reference implementations read the
whole (N, M) matrix of costs; here only the costs near a gt are computed. A rule gives a
floor: no pair outside the neighbourhood costs less. A gt that cannot fill its k from near
pairs below that floor is decided by a wider neighbourhood, and in the end by all priors of
its image, so the result is that of the whole matrix.

Shapes: B images, N priors, M gts, G gts of the batch in one list, T pairs, D gts that are
compared with all priors, K pairs chosen.
"""

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import ConfigError
from ...ops.device import block_elements, host_sync_is_free
from ...ops.iou import bbox_overlaps
from ...ops.segments import count_of, segment_topk
from ...structures import Assignment, GroundTruth, Predictions, Priors
from ..base import BaseAssigner
from ..candidates.centers import Candidates, Region, box_of_at_least, candidate_blocks
from ..candidates.coverage import covered_priors
from ..candidates.gt_rows import GtRows, gt_rows
from ..candidates.predicted_overlaps import sum_of_top_overlaps
from ..conflicts import LowestOffers, best_of_all_gts
from .least_positives import check_small, fill_up
from .pairs import TINY_QUALITY, PairReader, Pairs


@dataclass(frozen=True, eq=False)
class PairTerms(PairReader):
    """Computes the costs of pairs of one batch."""

    #: ``(B * N,)`` class cost of a prior if no class were right.
    all_negative: Tensor = field(kw_only=True)

    @abstractmethod
    def cost(self, pairs: Pairs, overlaps: Tensor) -> Tensor:
        """``(T,)`` float32 cost of any pairs, given their ``(T,)`` IoUs."""

    def near_cost(self, pairs: Pairs, overlaps: Tensor) -> Tensor:
        """:meth:`cost` of pairs that are known to be near, where that is simpler."""
        return self.cost(pairs, overlaps)


@dataclass(frozen=True)
class Neighbourhood:
    """Pairs within ``region`` are near; no pair outside costs less than ``floor``."""

    region: Region
    floor: float


class CostMatchingAssigner(BaseAssigner):
    """Base of the assigners that match by cost with a dynamic k.

    A subclass says which priors take part (:meth:`_regions`), which pairs are near, from
    narrow to wide (:meth:`_neighbourhoods`), and what a pair costs (:meth:`_terms`).

    Args:
        topk: How many of its best IoUs are summed for a gt's k.
        quality: Class target of a positive: ``'iou'``, of the prediction and the gt, as
            in YOLOX and RTMDet, or ``'one'``.
        min_positives: The least k, and the least number of positives that a gt is left with.
        min_gt_size: Pixels that a side of a gt counts at least, for :attr:`_box`.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.
    """

    needs = frozenset({'predictions'})
    priors_form = 'points'
    #: Whether a gt's k sums the IoUs of the priors that take part, or of all.
    sums_over_regions = True
    #: What the reference implementation reports as the overlap of unmatched priors, its -INF.
    unmatched_overlap = -1e5

    def __init__(
        self,
        topk: int,
        *,
        quality: str = 'iou',
        min_positives: int = 0,
        min_gt_size: float = 0.0,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        if quality not in ('iou', 'one'):
            raise ConfigError(f"quality: expected 'iou' or 'one', got {quality!r}")
        if topk < 1:
            raise ConfigError(f'the number of IoUs summed for k: expected >= 1, got {topk}')
        check_small(min_positives, min_gt_size)
        self.topk = topk
        self.quality = quality
        self.min_positives = min_positives
        self.min_gt_size = min_gt_size

    @property
    def _box(self) -> Region:
        """A gt's box, where priors inside it are looked for."""
        return box_of_at_least(self.min_gt_size)

    @abstractmethod
    def _regions(self) -> tuple[Region, ...]:
        """A prior takes part when its centre is in one of these regions of any gt."""

    @abstractmethod
    def _neighbourhoods(self) -> tuple[Neighbourhood, ...]:
        """From narrow to wide; the floors must not fall."""

    @abstractmethod
    def _terms(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions, taking_part: Tensor
    ) -> PairTerms:
        """The costs of the priors that take part, ``(B, N)`` bool."""

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        assert predictions is not None
        rows = gt_rows(gt)
        b, n = gt.batch_size, priors.num_priors
        if rows.num_rows == 0 or n == 0:
            return Assignment.empty(b, n, priors.device)
        covered = covered_priors(priors, rows, gt, self._regions())
        summed = covered if self.sums_over_regions else priors.valid
        totals = sum_of_top_overlaps(predictions.boxes, gt, summed, self.topk)
        k = totals.long().clamp(min=max(1, self.min_positives))
        k = k.minimum(covered.sum(dim=1)[:, None]) * gt.valid
        terms = self._terms(priors, gt, predictions, covered)
        matching = _Matching(terms, covered, k, max(self.topk, self.min_positives))
        pairs = matching.run(rows, self._neighbourhoods())
        pairs = fill_up(terms, pairs, self.min_positives)
        overlaps = terms.overlaps(pairs)
        ones = torch.ones_like(overlaps)
        return Assignment(
            pairs.image,
            pairs.prior,
            pairs.gt,
            torch.zeros(b, n, dtype=torch.bool, device=priors.device),
            quality=ones if self.quality == 'one' else overlaps.clamp(TINY_QUALITY, 1),
            one_to_one=True,
        )

    def _max_overlaps(
        self,
        pairs: Assignment,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
    ) -> Tensor:
        assert predictions is not None
        unmatched = self.unmatched_overlap if pairs.num_pairs else 0
        out = predictions.boxes.new_full((priors.num_priors,), unmatched)
        matched = predictions.boxes[0, pairs.prior]
        out[pairs.prior] = bbox_overlaps(matched, gt.boxes[0, pairs.gt], is_aligned=True)
        return out


class _Matching:
    """One batch's matching.

    Args:
        terms: The costs.
        taking_part: ``(B, N)`` bool, the priors to match.
        k: ``(B, M)`` int64, how many priors each gt takes; no more than take part.
        most: The largest k.
    """

    def __init__(self, terms: PairTerms, taking_part: Tensor, k: Tensor, most: int) -> None:
        self.terms = terms
        self.priors = terms.priors.with_valid(taking_part)
        self.taking_part = taking_part
        self.k = k
        self.most = most
        self.offers = LowestOffers(taking_part.numel(), k.device)

    def run(self, rows: GtRows, neighbourhoods: tuple[Neighbourhood, ...]) -> Pairs:
        """The K pairs."""
        claims = []
        while len(neighbourhoods) > 1 and self._too_narrow(neighbourhoods[0]):
            neighbourhoods = neighbourhoods[1:]
        for near in neighbourhoods:
            undecided = []
            for some, found in candidate_blocks(self.priors, rows, self.terms.gt, near.region):
                claimed, rest = self._claim(some, found, near.floor)
                claims.append(claimed)
                undecided.append(rest)
            rows = _cat_rows(undecided)
            if rows.num_rows == 0:
                break
        claims.extend(self._claim_whole_rows(rows))
        return self._one_gt_a_prior(Pairs.cat(claims), neighbourhoods[0].floor)

    def _too_narrow(self, near: Neighbourhood) -> bool:
        """Whether the class cost of most priors is above the floor, which then decides little.

        This happens where scores are high for many classes.
        """
        if not host_sync_is_free(self.k.device):
            return False
        over = (self.terms.all_negative >= near.floor).view_as(self.taking_part)
        return bool(2 * (over & self.taking_part).sum() > self.taking_part.sum())

    def _claim(self, rows: GtRows, near: Candidates, floor: float) -> tuple[Pairs, GtRows]:
        """The k cheapest near priors of each gt that they suffice for, and the other gts."""
        pairs = self.terms.pairs_of(near)
        cost = self.terms.near_cost(pairs, self.terms.overlaps(pairs))
        self.offers.add(pairs.flat_index, cost, pairs.gt_at)
        index, exists = segment_topk(cost, near.counts, self.most, largest=False)
        wanted = torch.arange(self.most, device=cost.device)
        wanted = wanted < self.k[rows.image, rows.index][:, None]  # (G, most)
        if cost.numel():
            exists = exists & (cost.index_select(0, index.reshape(-1)).view_as(index) < floor)
        decided = (exists | ~wanted).all(dim=1)
        chosen = pairs.at(index[wanted & decided[:, None]])
        rest = (~decided).nonzero().squeeze(1)  # sync: gts that need a wider look
        return chosen, rows.part(rest)

    def _claim_whole_rows(self, rows: GtRows) -> list[Pairs]:
        """The k cheapest of all priors that take part, for each of some gts."""
        n, claims = self.priors.num_priors, []
        step = max(2 * block_elements(self.k.device) // n, 1)
        for start in range(0, rows.num_rows, step):
            image, gt = (v[start : start + step] for v in (rows.image, rows.index))
            pairs = self.terms.rows(image, gt)
            cost = self.terms.cost(pairs, self.terms.overlaps(pairs)).view(-1, n)
            cost = torch.where(self.taking_part[image], cost, torch.inf)
            k = self.k[image, gt]
            order = self._cheapest(cost, image, k)
            wanted = torch.arange(order.shape[1], device=cost.device) < k[:, None]
            row, rank = wanted.nonzero(as_tuple=True)
            claims.append(self.terms.pairs(image[row], gt[row], order[row, rank]))
        return claims

    def _cheapest(self, cost: Tensor, image: Tensor, k: Tensor) -> Tensor:
        """``(D, most)`` priors of costs ``(D, N)``, the cheapest ``k (D,)`` of each gt first.

        Far pairs cost so much that many are equal in float32. Where equal costs straddle the
        k-th place the lower priors are taken; where a host sync is free, those that
        ``torch.topk`` picks among the priors that take part, as the reference
        implementations do.
        """
        value, order = torch.sort(cost, dim=1, stable=True)
        order = order[:, : self.most].contiguous()
        if host_sync_is_free(cost.device) and cost.shape[1] > 1:
            last, after = (k - 1).clamp(min=0), k.clamp(max=cost.shape[1] - 1)
            last, after = (value.gather(1, at[:, None]).squeeze(1) for at in (last, after))
            tied = (last == after) & torch.isfinite(after)
            for row in tied.nonzero().squeeze(1).tolist():
                prior_index = self.taking_part[image[row]].nonzero().squeeze(1)
                own = int(k[row])
                top = cost[row, prior_index].topk(own, largest=False).indices
                order[row, :own] = prior_index[top]
        return order

    def _one_gt_a_prior(self, claims: Pairs, floor: float) -> Pairs:
        """A prior claimed by several gts goes to the gt of the image for which it is cheapest."""
        count = count_of(claims.flat_index, self.taking_part.numel())
        shared = (count > 1).nonzero().squeeze(1)  # sync: priors in conflict
        if shared.numel() == 0:
            return claims
        single = claims.at(count.index_select(0, claims.flat_index) == 1)
        n = self.priors.num_priors
        image, prior = shared // n, shared % n
        cost, gt_at = self.offers.at(shared)
        winner = gt_at - image * self.terms.gt.max_gts
        undecided = (~(cost < floor)).nonzero().squeeze(1)  # sync: conflicts between far priors
        if undecided.numel():
            winner[undecided] = best_of_all_gts(
                image[undecided],
                prior[undecided],
                self.terms.gt,
                self._costs_of_all_gts,
                largest=False,
            )
        return Pairs.cat([single, self.terms.pairs(image, winner, prior)])

    def _costs_of_all_gts(self, image: Tensor, prior: Tensor) -> Tensor:
        """``(K, M)`` costs of some priors for every gt of their image."""
        pairs = self.terms.columns(image, prior)
        cost = self.terms.cost(pairs, self.terms.overlaps(pairs))
        return cost.view(-1, self.terms.gt.max_gts)


def _cat_rows(parts: list[GtRows]) -> GtRows:
    return GtRows(
        torch.cat([p.image for p in parts]),
        torch.cat([p.index for p in parts]),
        torch.cat([p.boxes for p in parts]),
        torch.cat([p.valid for p in parts]),
        torch.cat([p.centers for p in parts]),
    )
