"""Assignment: which priors are positive, and for which ground truth.

Shapes: B images, N priors, M gts, K pairs, E soft entries, C classes.
"""

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from ..errors import check_shape
from .class_targets import ClassTargets
from .ground_truth import GroundTruth
from .priors import Priors
from .target_maps import with_positives


@dataclass(frozen=True, eq=False)
class SoftEntries:
    """Class targets between 0 and 1 around positives (Gaussian targets).

    Args:
        image, prior, label: ``(E,)`` int64; each triple occurs at most once.
        value: ``(E,)`` float32 in (0, 1).
    """

    image: Tensor
    prior: Tensor
    label: Tensor
    value: Tensor

    def __post_init__(self) -> None:
        for name in ('prior', 'label', 'value'):
            check_shape(f'soft.{name}', getattr(self, name), self.image.shape[0])


class SoftMap(SoftEntries):
    """:class:`SoftEntries` as a map, listed only when someone asks for the entries.

    Args:
        map: ``(B, N, C)`` float32 in [0, 1), 0 where there is no entry.
    """

    map: Tensor

    def __init__(self, map: Tensor) -> None:
        object.__setattr__(self, 'map', map)

    @cached_property
    def _place(self) -> tuple[Tensor, Tensor, Tensor]:
        image, prior, label = self.map.nonzero(as_tuple=True)
        return image, prior, label

    @property
    def image(self) -> Tensor:  # type: ignore[override]
        """``(E,)`` int64."""
        return self._place[0]

    @property
    def prior(self) -> Tensor:  # type: ignore[override]
        """``(E,)`` int64."""
        return self._place[1]

    @property
    def label(self) -> Tensor:  # type: ignore[override]
        """``(E,)`` int64."""
        return self._place[2]

    @cached_property
    def value(self) -> Tensor:  # type: ignore[override]
        """``(E,)`` float32."""
        return self.map[self._place]


@dataclass(frozen=True, eq=False)
class Assignment:
    """K (prior, gt) pairs, positives only; what is in no pair, soft or ignored is negative.

    Pairs, not one label per prior: a prior may be positive for two gts (YOLOv5), and K is
    thousands of times smaller than N * C. A prior that is in a pair is never ignored.

    Args:
        image: ``(K,)`` int64, the image of a pair.
        prior: ``(K,)`` int64 in [0, N), its prior.
        gt: ``(K,)`` int64 in [0, M), its gt.
        ignored: ``(B, N)`` bool, priors left out of classification and objectness.
        quality: ``(K,)`` float32 in (0, 1], the classification target; 1 by default.
        weight: ``(K,)`` float32, for box terms; 1 by default.
        soft: Entries that shape the class target only.
        one_to_one: True when the assigner knows that no prior has two gts, which saves
            looking for priors that occur twice.
    """

    image: Tensor
    prior: Tensor
    gt: Tensor
    ignored: Tensor
    quality: Tensor = None  # type: ignore[assignment]
    weight: Tensor = None  # type: ignore[assignment]
    soft: SoftEntries | None = None
    one_to_one: bool = False
    _cache: dict = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        k = self.image.shape[0]
        check_shape('assignment.ignored', self.ignored, 'B', 'N')
        for name in ('quality', 'weight'):
            if getattr(self, name) is None:
                ones = torch.ones(k, dtype=torch.float32, device=self.image.device)
                object.__setattr__(self, name, ones)
        for name in ('image', 'prior', 'gt', 'quality', 'weight'):
            check_shape(f'assignment.{name}', getattr(self, name), k)

    @property
    def num_pairs(self) -> int:
        """K."""
        return self.image.shape[0]

    @property
    def batch_size(self) -> int:
        """B."""
        return self.ignored.shape[0]

    @property
    def num_priors(self) -> int:
        """N."""
        return self.ignored.shape[1]

    @property
    def slot(self) -> Tensor:
        """The former name of :attr:`flat_index`."""
        warnings.warn('Assignment.slot is now Assignment.flat_index', DeprecationWarning, 2)
        return self.flat_index

    @property
    def flat_index(self) -> Tensor:
        """``(K,)`` index of each pair's prior in the flattened ``(B * N)``."""
        return self.image * self.num_priors + self.prior

    @classmethod
    def empty(cls, batch_size: int, num_priors: int, device='cpu') -> 'Assignment':
        """No pair, nothing ignored: every prior negative."""
        none = torch.zeros(0, dtype=torch.long, device=device)
        ignored = torch.zeros(batch_size, num_priors, dtype=torch.bool, device=device)
        return cls(none, none, none, ignored, one_to_one=True)

    def labels_of(self, gt: GroundTruth) -> Tensor:
        """``(K,)`` label of each pair."""
        return gt.labels[self.image, self.gt]

    def boxes_of(self, gt: GroundTruth) -> Tensor:
        """``(K, 4)`` gt box of each pair."""
        return gt.boxes[self.image, self.gt]

    def select(self, keep: Tensor) -> 'Assignment':
        """The pairs at ``keep``, an index ``(K',)`` or a mask ``(K,)``."""
        return replace(
            self,
            image=self.image[keep],
            prior=self.prior[keep],
            gt=self.gt[keep],
            quality=self.quality[keep],
            weight=self.weight[keep],
            _cache={},
        )

    def replace(self, **changes) -> 'Assignment':
        """A copy with some fields changed; its views are computed again."""
        return replace(self, **changes, _cache={})

    def positive_mask(self) -> Tensor:
        """``(B, N)`` bool, the priors that are in a pair."""
        return self._once('positive', self._positive_mask)

    def _positive_mask(self) -> Tensor:
        mask = torch.zeros_like(self.ignored)
        mask[self.image, self.prior] = True
        return mask

    def _once(self, key: str, compute):
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    def one_gt_per_prior(self, gt: GroundTruth, *, last: bool = False) -> 'Assignment':
        """At most one pair a prior: the best quality, then the smaller box, then the lower gt.

        Args:
            gt: The ground truth.
            last: Of equal quality take the last gt, whatever its size.
        """
        if self.one_to_one:
            return self
        key = 'last_gt' if last else 'one_gt'
        return self._once(key, lambda: self._one_gt_per_prior(gt, last))

    def _one_gt_per_prior(self, gt: GroundTruth, last: bool) -> 'Assignment':
        order = torch.argsort(self.gt, stable=True, descending=last)
        if not last:
            areas = gt.areas[self.image, self.gt]
            order = order[torch.argsort(areas[order], stable=True)]
        order = order[torch.argsort(self.quality[order], descending=True, stable=True)]
        flat_index, by_prior = torch.sort(self.flat_index[order], stable=True)
        order = order[by_prior]
        first = torch.ones_like(flat_index, dtype=torch.bool)
        first[1:] = flat_index[1:] != flat_index[:-1]
        return self.select(order[first]).replace(one_to_one=True)

    def class_targets(
        self,
        gt: GroundTruth,
        priors: Priors,
        num_classes: int,
        *,
        values: Tensor | None = None,
        one_label: bool = False,
    ) -> ClassTargets:
        """The target of a classification term over every class row of the batch.

        Args:
            gt: The batch's ground truth.
            priors: The priors; priors that share a class row share its target.
            num_classes: C, without background.
            values: ``(K,)`` target values in place of ``quality``.
            one_label: Keep one gt a prior first (softmax and label losses).
        """
        pairs = self
        if one_label and not self.one_to_one:
            # Carried as quality, so that the best pair is chosen by the value used.
            pairs = self if values is None else self.replace(quality=values)
            pairs, values = pairs.one_gt_per_prior(gt), None
        values = pairs.quality if values is None else values
        rows = priors.class_rows_at(pairs.image, pairs.prior)
        labels = pairs.labels_of(gt)
        ignored = pairs.ignored_rows(priors)
        positive = torch.ones_like(rows, dtype=torch.bool)
        unique = pairs.one_to_one and priors.class_row is None
        if self.soft is None and unique:
            return ClassTargets(rows, labels, values.float(), positive, ignored, num_classes)
        soft = self.soft
        if isinstance(soft, SoftMap) and priors.class_row is None:
            return with_positives(soft.map, rows, labels, values.float(), ignored, num_classes)
        if soft is not None:
            soft_rows = priors.class_rows_at(soft.image, soft.prior)
            rows = torch.cat((rows, soft_rows))
            labels = torch.cat((labels, soft.label))
            values = torch.cat((values.float(), soft.value.float()))
            positive = torch.cat((positive, torch.zeros_like(soft_rows, dtype=torch.bool)))
        return ClassTargets.merge(rows, labels, values.float(), positive, ignored, num_classes)

    def ignored_rows(self, priors: Priors) -> Tensor:
        """``(B * rows,)`` bool: class rows all of whose priors are ignored."""
        if priors.class_row is None:
            return self.ignored.reshape(-1)
        kept = torch.zeros(
            self.batch_size, priors.num_class_rows, dtype=torch.bool, device=self.ignored.device
        )
        index = priors.class_row.expand(self.batch_size, -1)
        kept = kept.int().scatter_reduce_(1, index, (~self.ignored).int(), 'amax')
        return (kept == 0).reshape(-1)

    def gt_inds(self, gt: GroundTruth) -> Tensor:
        """``(B, N)`` int64 in OpenMMLab's coding: 0 negative, -1 ignored, i + 1 for gt i."""
        pairs = self.one_gt_per_prior(gt)
        out = -self.ignored.long()
        out[pairs.image, pairs.prior] = pairs.gt + 1
        return out

    def dense_labels(self, gt: GroundTruth, num_classes: int) -> Tensor:
        """``(B, N)`` int64 labels, C for background; ignored priors are -1."""
        pairs = self.one_gt_per_prior(gt)
        out = torch.where(self.ignored, -1, num_classes)
        out[pairs.image, pairs.prior] = pairs.labels_of(gt)
        return out

    def dense_soft(self, gt: GroundTruth, priors: Priors, num_classes: int) -> Tensor:
        """``(B, rows, C)`` float32 class targets."""
        targets = self.class_targets(gt, priors, num_classes)
        return targets.dense().reshape(self.batch_size, -1, num_classes)


def order_of(keys: Tensor) -> Tensor:
    """``(T,)`` the index that sorts ``keys (T,)``, all different, in ascending order."""
    if keys.device.type == 'cpu':
        # Sorts with vector instructions where there are any, four times as fast.
        return torch.from_numpy(keys.numpy().argsort())
    return torch.argsort(keys)


def sort_pairs(assignment: Assignment, max_gts: int) -> Assignment:
    """Pairs in the order image, prior, gt."""
    return assignment.select(order_of(assignment.flat_index * max(max_gts, 1) + assignment.gt))
