"""What the prediction-aware assigners read of single (gt, slot) pairs, and whole rows.

Shapes: B images, N slots, M gts, T pairs, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..ops.iou import bbox_overlaps
from ..structures import GroundTruth, Predictions, Priors
from .common import block_elements, take_boxes

# A pair's quality is over 0 even where the boxes do not meet.
TINY_QUALITY = 1e-7


@dataclass(frozen=True, eq=False)
class Pairs:
    """T pairs of a gt and a slot; all ``(T,)`` int64.

    Args:
        image: The image.
        gt: The gt in [0, M).
        prior: The slot in [0, N).
        gt_at: The gt counted over the batch, ``image * M + gt``.
        slot: The slot counted over the batch, ``image * N + prior``.
    """

    image: Tensor
    gt: Tensor
    prior: Tensor
    gt_at: Tensor
    slot: Tensor

    def __len__(self) -> int:
        return self.image.shape[0]

    def at(self, index: Tensor) -> 'Pairs':
        """The pairs at an index ``(T',)`` or a mask ``(T,)``."""
        if index.dtype == torch.bool:
            index = index.nonzero().squeeze(1)
        fields = (self.image, self.gt, self.prior, self.gt_at, self.slot)
        return Pairs(*(field.index_select(0, index) for field in fields))

    @staticmethod
    def cat(parts: Sequence['Pairs']) -> 'Pairs':
        """One list of several."""
        fields = ((p.image, p.gt, p.prior, p.gt_at, p.slot) for p in parts)
        return Pairs(*(torch.cat(values) for values in zip(*fields)))


@dataclass(frozen=True, eq=False)
class PairReader:
    """Reads pairs of one batch.

    Args:
        priors: The slots.
        gt: The gts.
        predictions: What the head answers.
    """

    priors: Priors
    gt: GroundTruth
    predictions: Predictions

    def pairs(self, image: Tensor, gt: Tensor, prior: Tensor) -> Pairs:
        """Pairs by image, gt and slot."""
        gt_at = image * self.gt.max_gts + gt
        return Pairs(image, gt, prior, gt_at, image * self.priors.num_priors + prior)

    def no_pairs(self) -> Pairs:
        """T = 0."""
        none = torch.zeros(0, dtype=torch.long, device=self.priors.device)
        return self.pairs(none, none, none)

    def rows(self, image: Tensor, gt: Tensor) -> Pairs:
        """Some gts with every slot of their image: ``(D,) -> T = D * N``."""
        n = self.priors.num_priors
        slots = torch.arange(n, device=image.device).repeat(image.shape[0])
        return self.pairs(image.repeat_interleave(n), gt.repeat_interleave(n), slots)

    def columns(self, image: Tensor, prior: Tensor) -> Pairs:
        """Some slots with every gt of their image: ``(D,) -> T = D * M``."""
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
        return take_boxes(self._flat_boxes, pairs.slot)

    def overlaps(self, pairs: Pairs) -> Tensor:
        """``(T,)`` IoU of the predicted box and the gt."""
        return bbox_overlaps(self.boxes(pairs), self.gt_boxes(pairs), is_aligned=True)

    def scores(self, pairs: Pairs) -> Tensor:
        """``(T,)`` predicted score of the gt's class."""
        num_classes = self.predictions.scores.shape[-1]
        return self._flat_scores.index_select(0, pairs.slot * num_classes + self.labels(pairs))

    def points(self, pairs: Pairs) -> Tensor:
        """``(T, 2)`` centres of the slots."""
        if self.priors.centers.dim() == 2:
            return take_boxes(self.priors.centers, pairs.prior)
        return self.priors.centers_at(pairs.image, pairs.prior)

    def strides(self, pairs: Pairs) -> Tensor:
        """``(T, 2)`` strides of the slots."""
        if self.priors.strides.dim() == 2:
            return take_boxes(self.priors.strides, pairs.prior)
        return self.priors.strides_at(pairs.image, pairs.prior)


def sum_over_classes(scores: Tensor, term: Callable[[Tensor], Tensor]) -> Tensor:
    """``(B * N,)`` sum over the classes of ``term(scores)``, streamed.

    Args:
        scores: ``(B, N, C)``.
        term: Element by element, on a contiguous ``(R, C)``.
    """
    flat = scores.reshape(-1, scores.shape[-1])
    out = flat.new_empty(flat.shape[0])
    step = max(block_elements(scores.device) // max(flat.shape[1], 1), 1)
    for start in range(0, flat.shape[0], step):
        torch.sum(term(flat[start : start + step]), dim=1, out=out[start : start + step])
    return out
