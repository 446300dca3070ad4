"""Dynamic-k matching by a cost: the core of SimOTA and DynamicSoftLabel.

Each gt takes its k cheapest slots, k the rounded sum of its best IoUs; a slot that several
gts take goes to the gt for which it is cheapest. The reference implementations read the
whole (N, M) cost; here only pairs near a gt are priced. A rule states a ``floor`` that the
cost of every other pair exceeds, and what the near pairs cannot decide below the floor
(a gt with too few of them, say) is decided by pricing that gt's whole row, so the answer is
that of the whole matrix.

Shapes: B images, N slots, M gts, G gts of the batch in one list, T pairs, K pairs chosen.
"""

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ..ops.iou import bbox_overlaps
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .centers import Candidates, Region, candidate_blocks, covered_slots, gt_blocks
from .common import CHUNK_ELEMENTS, GtRows, best_key, gt_rows, segment_topk

_GT_BITS = 0x7FFFFFFF


@dataclass(frozen=True, eq=False)
class Claims:
    """Pairs that gts ask for; ``(T,)`` int64 each."""

    image: Tensor
    gt: Tensor
    prior: Tensor

    @staticmethod
    def cat(parts: list['Claims']) -> 'Claims':
        """One list of several."""
        return Claims(*(torch.cat(v) for v in zip(*((p.image, p.gt, p.prior) for p in parts))))

    def at(self, index: Tensor) -> 'Claims':
        """The claims at an index."""
        return Claims(
            self.image.index_select(0, index),
            self.gt.index_select(0, index),
            self.prior.index_select(0, index),
        )


@dataclass(frozen=True, eq=False)
class PairTerms(metaclass=ABCMeta):
    """Prices pairs of one batch.

    Args:
        priors: The slots.
        gt: The gts.
        predictions: What the head answers.
    """

    priors: Priors
    gt: GroundTruth
    predictions: Predictions

    #: No pair outside ``near`` costs less.
    floor: float = 0.0

    @abstractmethod
    def cost(self, pairs: Claims, overlaps: Tensor, *, near: bool) -> Tensor:
        """``(T,)`` float32 cost of each pair.

        Args:
            pairs: The pairs.
            overlaps: ``(T,)`` IoU of the predicted box and the gt.
            near: Whether all are known to be near pairs.
        """

    def overlaps(self, pairs: Claims) -> Tensor:
        """``(T,)`` IoU of the predicted box and the gt."""
        boxes = self.predictions.boxes.reshape(-1, 4).index_select(0, self.slot(pairs))
        return bbox_overlaps(boxes, self.gt_boxes(pairs), is_aligned=True)

    def slot(self, pairs: Claims) -> Tensor:
        """``(T,)`` slot counted over the batch."""
        return pairs.image * self.priors.num_priors + pairs.prior

    def gt_boxes(self, pairs: Claims) -> Tensor:
        """``(T, 4)`` gt boxes."""
        index = pairs.image * self.gt.max_gts + pairs.gt
        return self.gt.boxes.reshape(-1, 4).index_select(0, index)

    def scores_at_label(self, pairs: Claims) -> Tensor:
        """``(T,)`` predicted score of the gt's class."""
        label = self.gt.labels.reshape(-1).index_select(0, pairs.image * self.gt.max_gts + pairs.gt)
        scores = self.predictions.scores
        return scores.reshape(-1).index_select(0, self.slot(pairs) * scores.shape[-1] + label)


def sum_over_classes(scores: Tensor, term) -> Tensor:
    """``(B * N,)`` sum over the classes of ``term(scores)``, streamed.

    Args:
        scores: ``(B, N, C)``.
        term: Element by element, on a contiguous ``(R, C)``.
    """
    flat = scores.reshape(-1, scores.shape[-1])
    out = flat.new_empty(flat.shape[0])
    step = max(CHUNK_ELEMENTS // max(flat.shape[1], 1), 1)
    if scores.device.type != 'cpu':
        step *= 16
    for start in range(0, flat.shape[0], step):
        torch.sum(term(flat[start : start + step]), dim=1, out=out[start : start + step])
    return out


def planar(boxes: Tensor) -> Tensor:
    """The same ``(B, N, 4)`` boxes, each coordinate contiguous in memory.

    Whole-row arithmetic on them then runs on vectors.
    """
    return boxes.permute(2, 0, 1).contiguous().permute(1, 2, 0)


def sum_of_top_overlaps(boxes: Tensor, gt: GroundTruth, allowed: Tensor, k: int) -> Tensor:
    """``(B, M)`` sum of each gt's k largest IoUs with the allowed predicted boxes, streamed.

    Args:
        boxes: ``(B, N, 4)`` predicted boxes.
        gt: The gts.
        allowed: ``(B, N)`` bool.
        k: How many to sum.
    """
    # A box of no size at the origin overlaps nothing.
    boxes = planar(torch.where(allowed[..., None], boxes, 0))
    out = boxes.new_zeros(gt.boxes.shape[:2])
    k = min(k, boxes.shape[1])
    for part in gt_blocks(gt.max_gts, gt.batch_size, boxes.shape[1], boxes.device):
        overlaps = bbox_overlaps(gt.boxes[:, part], boxes)  # (B, m, N)
        # Summed largest first, one after the other, as the reference implementations do:
        # the sum is rounded down to a whole number.
        top = overlaps.topk(k, dim=-1).values.movedim(-1, 0).contiguous()
        out[:, part] = top.sum(dim=0)
    return out


class CostMatchingAssigner(BaseAssigner):
    """Base of the assigners that match by cost with a dynamic k.

    A subclass says which slots take part (:meth:`_regions`), which pairs are near
    (:meth:`_near_region`) and prices pairs (:meth:`_terms`).

    Args:
        topk: How many best IoUs a gt's k is summed from.
        quality: Class target of a positive: ``'iou'``, of the prediction and the gt, as
            in YOLOX and RTMDet, or ``'one'``.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.
    """

    needs = frozenset({'predictions'})
    priors_form = 'points'

    def __init__(
        self,
        topk: int,
        *,
        quality: str = 'iou',
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        if quality not in ('iou', 'one'):
            raise ValueError(f"quality: expected 'iou' or 'one', got {quality!r}")
        self.topk = topk
        self.quality = quality

    @abstractmethod
    def _regions(self) -> tuple[Region, ...]:
        """A slot takes part when it lies in one of these, of any gt of its image."""

    @abstractmethod
    def _near_region(self) -> Region:
        """Pairs in this region of the gt are near."""

    @abstractmethod
    def _terms(self, priors: Priors, gt: GroundTruth, predictions: Predictions) -> PairTerms:
        """The prices."""

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        assert predictions is not None
        rows = gt_rows(gt)
        b, n = gt.batch_size, priors.num_priors
        if rows.num_rows == 0 or n == 0:
            return Assignment.empty(b, n, priors.device)
        covered = covered_slots(priors, rows, gt, self._regions())
        totals = sum_of_top_overlaps(predictions.boxes, gt, covered, self.topk)
        k = totals.long().clamp(min=1).minimum(covered.sum(dim=1)[:, None]) * gt.valid
        terms = self._terms(priors, gt, predictions)
        near_priors = priors.with_valid(covered)
        claims, best = [], torch.full((b * n,), torch.iinfo(torch.int64).min, device=priors.device)
        for some, near in candidate_blocks(near_priors, rows, gt, self._near_region()):
            wanted = k[some.image, some.index]
            claims.append(_claim(terms, some, near, wanted, covered, self.topk, best))
        pairs = _one_gt_a_slot(terms, Claims.cat(claims), best)
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
        # The reference implementations leave -INF, their 1e5, at unmatched slots.
        assert predictions is not None
        out = predictions.boxes.new_full((priors.num_priors,), -1e5)
        matched = predictions.boxes[0, pairs.prior]
        out[pairs.prior] = bbox_overlaps(matched, gt.boxes[0, pairs.gt], is_aligned=True)
        return out


# A pair's quality is over 0 even where the boxes do not meet.
TINY_QUALITY = 1e-7


def _claim(
    terms: PairTerms,
    rows: GtRows,
    near: Candidates,
    k: Tensor,
    covered: Tensor,
    most: int,
    best: Tensor,
) -> Claims:
    """Each gt's k cheapest slots; notes in ``best`` which gt finds each slot cheapest."""
    pairs = Claims(near.image, near.gt, near.prior)
    cost = terms.cost(pairs, terms.overlaps(pairs), near=True)
    key = best_key(cost, near.gt, largest=False)
    best.scatter_reduce_(0, terms.slot(pairs), key, 'amax')
    index, exists = segment_topk(cost, near.counts, most, largest=False)  # (G, most)
    if cost.numel() == 0:
        decided = k == 0
        wanted = torch.zeros_like(exists)
    else:
        rank = torch.arange(most, device=k.device)
        wanted = rank < k[:, None]
        below = exists & (cost[index] < terms.floor)
        decided = (below | ~wanted).all(dim=1)
        wanted = wanted & decided[:, None]
    chosen = pairs.at(index[wanted])
    rest = (~decided).nonzero().squeeze(1)  # sync: gts that need their whole row
    if rest.numel() == 0:
        return chosen
    return Claims.cat([chosen, _claim_whole_rows(terms, rows, rest, k, covered)])


def _claim_whole_rows(
    terms: PairTerms, rows: GtRows, which: Tensor, k: Tensor, covered: Tensor
) -> Claims:
    """The k cheapest of all slots that take part, for some gts."""
    n = terms.priors.num_priors
    slots = torch.arange(n, device=which.device)
    parts = []
    step = max(4 * CHUNK_ELEMENTS // n, 1)
    for start in range(0, which.numel(), step):
        some = which[start : start + step]
        image, gt = rows.image[some], rows.index[some]
        pairs = Claims(
            image.repeat_interleave(n), gt.repeat_interleave(n), slots.repeat(some.numel())
        )
        cost = terms.cost(pairs, terms.overlaps(pairs), near=False).view(-1, n)
        cost = torch.where(covered.index_select(0, image), cost, torch.inf)
        # A stable sort keeps the lower of slots that cost the same.
        order = torch.sort(cost, dim=1, stable=True).indices
        wanted = torch.arange(n, device=which.device) < k[some, None]
        row, rank = wanted.nonzero(as_tuple=True)
        parts.append(Claims(image[row], gt[row], order[row, rank]))
    return Claims.cat(parts)


def _one_gt_a_slot(terms: PairTerms, claims: Claims, best: Tensor) -> Claims:
    """A slot claimed by several gts goes to the gt that finds it cheapest, claimant or not."""
    slot = terms.slot(claims)
    count = torch.zeros_like(best, dtype=torch.int32)
    count.index_add_(0, slot, torch.ones_like(slot, dtype=torch.int32))
    single = (count.index_select(0, slot) == 1).nonzero().squeeze(1)
    shared = (count > 1).nonzero().squeeze(1)  # sync: slots in conflict
    if shared.numel() == 0:
        return claims
    n, m = terms.priors.num_priors, terms.gt.max_gts
    key = best[shared]
    winner = _GT_BITS - (key & 0xFFFFFFFF)
    floor = best_key(torch.tensor([terms.floor]), torch.tensor([0]), largest=False)
    undecided = (key <= floor.to(key)).nonzero().squeeze(1)
    if undecided.numel():
        image = shared[undecided] // n
        gts = torch.arange(m, device=image.device).repeat(undecided.numel())
        pairs = Claims(
            image.repeat_interleave(m), gts, (shared[undecided] % n).repeat_interleave(m)
        )
        cost = terms.cost(pairs, terms.overlaps(pairs), near=False).view(-1, m)
        cost = torch.where(terms.gt.valid[image], cost, torch.inf)
        winner[undecided] = cost.argmin(dim=1)
    resolved = Claims(shared // n, winner, shared % n)
    return Claims.cat([claims.at(single), resolved])
