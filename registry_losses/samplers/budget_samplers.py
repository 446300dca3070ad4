"""Samplers with a budget an image: at random, by loss, or balanced over the IoU.

Shapes: B images, N priors, M gts, K pairs.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops import bbox_overlaps
from ..ops.segments import descending_bits, pack
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Priors
from .base import BaseSampler, SamplingInputs, keep_only
from .keyed import hashes_at, prior_hashes
from .ranking import prior_ranks, take_smallest

_INT32_MIN = -(2**31)
_BUDGET = 2**22  # overlaps worked out at once


class BudgetSampler(BaseSampler):
    """At most ``num`` priors per image, of which at most a share is positive.

    ``int(num * pos_fraction)`` positives or all there are, then negatives up to ``num``.

    Args:
        num: Priors per image.
        pos_fraction: Largest share of positives.
        neg_pos_ub: Largest number of negatives per positive; negative for no limit. An
            image without positives counts as having one.
        add_gt_as_proposals: RoI heads append the gts to the proposals.
        seed: See :class:`BaseSampler`.
        context: Likewise.

    Raises:
        ConfigError: If a number is out of its range.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
        *,
        seed: int = 0,
        context: object = None,
    ) -> None:
        super().__init__(seed=seed)
        if num < 1 or not 0 <= pos_fraction <= 1:
            raise ConfigError(
                f'{type(self).__name__}: expected num >= 1 and pos_fraction in [0, 1], '
                f'got {num} and {pos_fraction}'
            )
        self.num = num
        self.pos_fraction = pos_fraction
        self.neg_pos_ub = neg_pos_ub
        self.add_gt_as_proposals = add_gt_as_proposals

    def choose(self, inputs: SamplingInputs) -> Assignment:
        """Positives by :meth:`pair_priority`, negatives by :meth:`choose_negatives`."""
        limit = int(self.num * self.pos_fraction)
        ranks, positives = prior_ranks(inputs.assignment, self.pair_priority(inputs))
        positives = positives.clamp(max=limit)
        room = self.num - positives
        if self.neg_pos_ub >= 0:
            allowed = (positives.clamp(min=1).double() * self.neg_pos_ub).long()
            room = torch.minimum(room, allowed)
        negatives = self.choose_negatives(inputs, room)
        return keep_only(inputs, pairs=ranks < limit, negatives=negatives)

    def pair_priority(self, inputs: SamplingInputs) -> Tensor:
        """``(K,)`` int64 in [0, 2^32), smaller first; at random unless overridden."""
        pairs = inputs.assignment
        return hashes_at(inputs.keys, pairs.image, pairs.prior).long() - _INT32_MIN

    @abstractmethod
    def choose_negatives(self, inputs: SamplingInputs, count: Tensor) -> Tensor:
        """``(B, N)`` bool, up to ``count (B,)`` of ``inputs.negatives``."""


@TASK_UTILS.register_module()
class RandomSampler(BudgetSampler):
    """Positives and negatives at random.

    Ren et al., Faster R-CNN, NeurIPS 2015, section 3.1.3: 256 anchors per image, up to
    half of them positive.

    Args:
        num: Priors per image.
        pos_fraction: Largest share of positives.
        neg_pos_ub: Largest number of negatives per positive; negative for no limit.
        add_gt_as_proposals: RoI heads append the gts to the proposals.
        seed: See :class:`BaseSampler`.
        context: Likewise.
    """

    def choose_negatives(self, inputs: SamplingInputs, count: Tensor) -> Tensor:
        """The first of a random order."""
        hashes = prior_hashes(inputs.keys, inputs.assignment.num_priors)
        return take_smallest(hashes, inputs.negatives, count, self.num)


@TASK_UTILS.register_module()
class OHEMSampler(BudgetSampler):
    """The positives and the negatives with the largest loss.

    Shrivastava et al., Training Region-based Object Detectors with Online Hard Example
    Mining, CVPR 2016. Equal losses: the lower prior first. Unlike there, no boxes are
    suppressed before: a prior's loss is that of its class row.

    Args:
        num: Priors per image.
        pos_fraction: Largest share of positives.
        neg_pos_ub: Largest number of negatives per positive; negative for no limit.
        add_gt_as_proposals: RoI heads append the gts to the proposals.
        seed: Not read; accepted as by every sampler.
        context: Likewise.
    """

    needs = frozenset({'row_loss'})

    def pair_priority(self, inputs: SamplingInputs) -> Tensor:
        """Larger losses first."""
        pairs = inputs.assignment
        assert inputs.row_loss is not None
        return descending_bits(inputs.row_loss[pairs.image, pairs.prior])

    def choose_negatives(self, inputs: SamplingInputs, count: Tensor) -> Tensor:
        """Larger losses first."""
        return hardest(inputs, count, self.num)


def hardest(inputs: SamplingInputs, count: Tensor, limit: int) -> Tensor:
    """The ``count (B,)`` negatives of each image with the largest loss: ``(B, N)`` bool.

    Equal losses: the lower prior first.
    """
    assert inputs.row_loss is not None
    prior_index = torch.arange(inputs.assignment.num_priors, device=count.device)
    keys = pack(descending_bits(inputs.row_loss), prior_index)
    return take_smallest(keys, inputs.negatives, count, limit)


@TASK_UTILS.register_module()
class IoUBalancedNegSampler(BudgetSampler):
    """Negatives spread evenly over their IoU with the gts.

    Negatives are split by their largest IoU with a gt: a floor (below ``floor_thr``) and
    ``num_bins`` equal intervals from there to the largest IoU of a negative in the image.
    Each interval gives the same number, at random; where some are short the rest comes
    from the other intervals, then from the floor, then from anywhere. Positives are
    drawn at random. Pang et al., Libra R-CNN, CVPR 2019, section 3.1.

    Deviation from OpenMMLab: there the intervals end at the largest IoU of any prior,
    positives included, so that the upper ones hold no negative.

    Args:
        num: Priors per image.
        pos_fraction: Largest share of positives.
        floor_thr: Negatives below it form the floor; at 0, those of IoU 0; negative for
            no floor.
        floor_fraction: Share of the negatives drawn from the floor.
        num_bins: Intervals above the floor.
        neg_pos_ub: Largest number of negatives per positive; negative for no limit.
        add_gt_as_proposals: RoI heads append the gts to the proposals.
        seed: See :class:`BaseSampler`.
        context: Likewise.

    Raises:
        ConfigError: If a number is out of its range.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        floor_thr: float = -1,
        floor_fraction: float = 0,
        num_bins: int = 3,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
        *,
        seed: int = 0,
        context: object = None,
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals, seed=seed)
        if not (floor_thr >= 0 or floor_thr == -1) or not 0 <= floor_fraction <= 1 or num_bins < 1:
            raise ConfigError(
                'IoUBalancedNegSampler: expected floor_thr >= 0 or -1, floor_fraction in [0, 1] '
                f'and num_bins >= 1, got {floor_thr}, {floor_fraction} and {num_bins}'
            )
        self.floor_thr = floor_thr
        self.floor_fraction = floor_fraction
        self.num_bins = num_bins

    def choose_negatives(self, inputs: SamplingInputs, count: Tensor) -> Tensor:
        """A share of each interval, then what is missing."""
        overlaps = best_overlaps(inputs.priors, inputs.gt)
        # In a random order all draws are prefixes: ranks are running counts.
        order = prior_hashes(inputs.keys, inputs.assignment.num_priors).argsort(dim=1)
        candidates = inputs.negatives.gather(1, order)
        bins = self._bins(overlaps.gather(1, order), candidates)
        above = candidates & (bins >= 0)
        from_bins = (count.double() * (1 - self.floor_fraction)).long()
        share = from_bins // self.num_bins
        chosen = torch.zeros_like(candidates)
        for index in range(self.num_bins):
            chosen |= _first(above & (bins == index), share)
        chosen |= _first(above & ~chosen, from_bins - chosen.sum(1))
        for pool in (candidates & ~above, candidates):
            chosen |= _first(pool & ~chosen, count - chosen.sum(1))
        return torch.zeros_like(candidates).scatter_(1, order, chosen)

    def _bins(self, overlaps: Tensor, candidates: Tensor) -> Tensor:
        """``(B, N)`` int64 interval of each prior, -1 for the floor."""
        start = max(self.floor_thr, 0.0)
        if self.floor_thr == 0:
            floor = overlaps <= 0
        else:
            floor = overlaps < self.floor_thr
        top = torch.where(candidates, overlaps, start).amax(dim=1, keepdim=True)
        width = ((top - start) / self.num_bins).clamp(min=1e-12)
        bins = ((overlaps - start) / width).long().clamp(0, self.num_bins - 1)
        return torch.where(floor, -1, bins)


def _first(pool: Tensor, count: Tensor) -> Tensor:
    """``(B, N)`` bool, the first ``count (B,)`` members of each row of ``pool (B, N)``."""
    return pool & (pool.cumsum(dim=1) <= count[:, None])


def best_overlaps(priors: Priors, gt: GroundTruth) -> Tensor:
    """``(B, N)`` largest IoU of each prior with a gt of its image, 0 without gts.

    Gts are streamed: what is held at once does not grow with their number.
    """
    shape = (gt.batch_size, priors.num_priors)
    best = torch.zeros(shape, device=gt.device)
    boxes = priors.boxes if priors.per_image else priors.boxes[None]
    step = max(1, _BUDGET // max(1, shape[0] * shape[1]))
    for start in range(0, gt.max_gts, step):
        part = slice(start, start + step)
        overlaps = bbox_overlaps(gt.boxes[:, part], boxes)  # (B, m, N)
        overlaps = torch.where(gt.valid[:, part, None], overlaps, 0)
        best = torch.maximum(best, overlaps.amax(dim=1))
    return best
