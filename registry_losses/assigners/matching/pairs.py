"""What assigners that look at predictions read of single (gt, prior) pairs.

Shapes: B images, N priors, M gts, T pairs, C classes, D gts or priors taken with all partners.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...ops.boxes import take_boxes
from ...ops.device import block_elements, host_sync_is_free
from ...ops.iou import iou_of_corners
from ...structures import GroundTruth, Predictions, Priors
from ..candidates.centers import Candidates

# A pair's quality is over 0 even where the boxes do not meet.
TINY_QUALITY = 1e-7


@dataclass(frozen=True, eq=False)
class Pairs:
    """T pairs of a gt and a prior; all ``(T,)`` int64.

    Args:
        gt_at: The gt counted over the batch, ``image * M + gt``.
        flat_index: The prior counted over the batch, ``image * N + prior``.
        max_gts: M.
        num_priors: N.
    """

    gt_at: Tensor
    flat_index: Tensor
    max_gts: int
    num_priors: int

    def __len__(self) -> int:
        return self.gt_at.shape[0]

    @cached_property
    def image(self) -> Tensor:
        """The image."""
        return torch.div(self.gt_at, self.max_gts, rounding_mode='floor')

    @cached_property
    def gt(self) -> Tensor:
        """The gt in [0, M)."""
        return self.gt_at - self.image * self.max_gts

    @cached_property
    def prior(self) -> Tensor:
        """The prior in [0, N)."""
        return self.flat_index - self.image * self.num_priors

    def at(self, index: Tensor) -> 'Pairs':
        """The pairs at an index ``(T',)`` or a mask ``(T,)``."""
        if index.dtype == torch.bool:
            index = index.nonzero().squeeze(1)
        gt_at, flat_index = (v.index_select(0, index) for v in (self.gt_at, self.flat_index))
        return Pairs(gt_at, flat_index, self.max_gts, self.num_priors)

    @staticmethod
    def cat(parts: Sequence['Pairs']) -> 'Pairs':
        """Several lists, at least one, in one."""
        if len(parts) == 1:
            return parts[0]
        gt_at, flat_index = (
            torch.cat(values) for values in zip(*((p.gt_at, p.flat_index) for p in parts))
        )
        return Pairs(gt_at, flat_index, parts[0].max_gts, parts[0].num_priors)


@dataclass(frozen=True, eq=False)
class PairReader:
    """Reads values of single (gt, prior) pairs from one batch.

    Args:
        priors: The priors.
        gt: The gts.
        predictions: What the head predicts now.
    """

    priors: Priors
    gt: GroundTruth
    predictions: Predictions

    def pairs_at(self, gt_at: Tensor, flat_index: Tensor) -> Pairs:
        """Pairs by gt and prior, both counted over the batch."""
        return Pairs(gt_at, flat_index, self.gt.max_gts, self.priors.num_priors)

    def pairs(self, image: Tensor, gt: Tensor, prior: Tensor) -> Pairs:
        """Pairs by image, gt and prior."""
        return self._known(
            self.pairs_at(image * self.gt.max_gts + gt, image * self.priors.num_priors + prior),
            image=image,
            gt=gt,
            prior=prior,
        )

    def pairs_of(self, found: Candidates) -> Pairs:
        """The pairs of some candidates."""
        rows = found.rows
        gt_at = (rows.image * self.gt.max_gts + rows.index).index_select(0, found.row)
        flat_index = (
            (rows.image * self.priors.num_priors).index_select(0, found.row).add_(found.prior)
        )
        return self._known(self.pairs_at(gt_at, flat_index), prior=found.prior)

    @staticmethod
    def _known(pairs: Pairs, **views: Tensor) -> Pairs:
        """The same pairs, told image, gt or prior where they are known already."""
        vars(pairs).update(views)
        return pairs

    def no_pairs(self) -> Pairs:
        """T = 0."""
        none = torch.zeros(0, dtype=torch.long, device=self.priors.device)
        return self.pairs(none, none, none)

    def rows(self, image: Tensor, gt: Tensor) -> Pairs:
        """Some gts with every prior of their image: ``(D,) -> T = D * N``."""
        n = self.priors.num_priors
        prior_index = torch.arange(n, device=image.device).repeat(image.shape[0])
        return self.pairs(image.repeat_interleave(n), gt.repeat_interleave(n), prior_index)

    def columns(self, image: Tensor, prior: Tensor) -> Pairs:
        """Some priors with every gt of their image: ``(D,) -> T = D * M``."""
        m = self.gt.max_gts
        gts = torch.arange(m, device=image.device).repeat(image.shape[0])
        return self.pairs(image.repeat_interleave(m), gts, prior.repeat_interleave(m))

    @cached_property
    def _flat_boxes(self) -> Tensor:
        return self.predictions.boxes.reshape(-1, 4)

    @cached_property
    def _flat_scores(self) -> Tensor:
        return self.predictions.scores.reshape(-1)

    def gt_boxes(self, pairs: Pairs) -> Tensor:
        """``(T, 4)`` gt boxes."""
        return take_boxes(self.gt.boxes.reshape(-1, 4), pairs.gt_at)

    def gt_points(self, pairs: Pairs) -> Tensor:
        """``(T, 2)`` positions of the gts."""
        return take_boxes(self.gt.points.reshape(-1, 2), pairs.gt_at)

    def labels(self, pairs: Pairs) -> Tensor:
        """``(T,)`` gt labels."""
        return self.gt.labels.reshape(-1).index_select(0, pairs.gt_at)

    def boxes(self, pairs: Pairs) -> Tensor:
        """``(T, 4)`` predicted boxes."""
        return take_boxes(self._flat_boxes, pairs.flat_index)

    def overlaps(self, pairs: Pairs) -> Tensor:
        """``(T,)`` IoU of the predicted box and the gt."""
        own, gts = self.boxes(pairs).float().unbind(-1), self.gt_boxes(pairs).float().unbind(-1)
        width, height = (own[i + 2].detach().sub(own[i]).clamp_(min=0) for i in (0, 1))
        gt_areas = self.gt.areas.float().reshape(-1).index_select(0, pairs.gt_at)
        return iou_of_corners(own, width.mul_(height), gts, gt_areas)

    def scores(self, pairs: Pairs) -> Tensor:
        """``(T,)`` predicted score of the gt's class."""
        num_classes = self.predictions.scores.shape[-1]
        at = torch.add(self.labels(pairs), pairs.flat_index, alpha=num_classes)
        return self._flat_scores.index_select(0, at)

    def points(self, pairs: Pairs) -> Tensor:
        """``(T, 2)`` centres of the priors."""
        if self.priors.centers.dim() == 2:
            return take_boxes(self.priors.centers, pairs.prior)
        return take_boxes(self.priors.centers.reshape(-1, 2), pairs.flat_index)

    def strides(self, pairs: Pairs) -> Tensor:
        """``(T, 2)`` strides of the priors."""
        if self.priors.strides.dim() == 2:
            return take_boxes(self.priors.strides, pairs.prior)
        return take_boxes(self.priors.strides.reshape(-1, 2), pairs.flat_index)


def sum_over_classes(
    scores: Tensor, term: Callable[[Tensor], Tensor], wanted: Tensor | None = None
) -> Tensor:
    """``(B * N,)`` sum over the classes of ``term(scores)``, streamed.

    Args:
        scores: ``(B, N, C)``.
        term: Element by element, on a contiguous ``(R, C)``.
        wanted: ``(B, N)`` bool, the priors to sum for where the host may choose; the sum
            of others may be anything.
    """
    flat = scores.reshape(-1, scores.shape[-1])
    out = flat.new_zeros(flat.shape[0])
    step = max(block_elements(scores.device) // max(flat.shape[1], 1), 1)
    if wanted is not None and host_sync_is_free(scores.device):
        at = wanted.reshape(-1).nonzero().squeeze(1)
        for part in at.split(step):
            out.index_copy_(0, part, term(flat.index_select(0, part)).sum(dim=1))
        return out
    for start in range(0, flat.shape[0], step):
        torch.sum(term(flat[start : start + step]), dim=1, out=out[start : start + step])
    return out
