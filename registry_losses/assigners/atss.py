"""ATSS: positives by a threshold that follows from each gt's own candidates.

Shapes: B images, N priors, M gts, G gts of the batch, K candidates of a gt, C classes.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, PairingError, ShapeError
from ..ops.boxes import centers_inside, corners_of, take_boxes
from ..ops.device import host_sync_is_free
from ..ops.iou import bbox_overlaps, iou_of_corners
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.gt_rows import GtRows, gt_rows
from .candidates.nearest import nearest_topk
from .candidates.prior_blocks import corners_of_priors
from .candidates.windows import Search, Targets
from .conflicts import best_of_all_gts, winners
from .openmmlab import AssignResult, check_iou_calculator


@TASK_UTILS.register_module()
class ATSSAssigner(BaseAssigner):
    """Adaptive training sample selection: a gt's threshold is mean + deviation of its IoUs.

    The candidates of a gt are, on every level, the ``topk`` priors whose centres are
    nearest to its centre. A candidate is positive where its IoU with the gt is at least
    ``mean + std`` of the candidates' IoUs and its centre lies in the gt (by more than
    0.01 pixels). A prior that is positive for several gts goes to the one of the highest
    IoU, of equal ones the first.

    Zhang et al., Bridging the Gap Between Anchor-based and Anchor-free Detection via
    Adaptive Training Sample Selection, arXiv:1912.02424, algorithm 1. With ``alpha``
    the IoU gives way to ``score^(1 - alpha) * IoU(prediction, gt)^alpha``: Chen et al.,
    Disentangle Your Dense Object Detector, arXiv:2107.02963.

    Deviation: priors that are no candidates (padding, ignore regions) do not enter the
    statistics; OpenMMLab's implementation counts each with an IoU of -1e8 where a level has
    fewer than ``topk`` others, which leaves the gt without positives. Priors without a
    grid count as one level.

    In plain loops: :func:`registry_losses.testing.reference.assigners.atss`.
    Made fast in ``candidates/``: ``nearest.py``, on the windows of ``windows.py``.

    Args:
        topk: Candidates per level.
        alpha: Exponent of the IoU in DDOD's variant, which looks at predictions; None
            for ATSS itself.
        iou_calculator: Accepted for OpenMMLab's configs: ``BboxOverlaps2D`` or None.
        ignore_iof_thr: See :class:`BaseAssigner`.
    """

    #: Least distance in pixels of a positive's centre from the sides of its gt.
    margin = 0.01
    returns_sorted = True
    #: Whether a prior that is positive for several gts goes to the highest IoU among all.
    contest_all = False

    def __init__(
        self,
        topk: int = 9,
        alpha: float | None = None,
        iou_calculator: dict | None = None,
        ignore_iof_thr: float | None = None,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)
        if topk < 1:
            raise ConfigError(f'topk: expected at least 1, got {topk}')
        check_iou_calculator(iou_calculator)
        self.topk = topk
        self.alpha = alpha
        if alpha is not None:
            self.needs = frozenset({'predictions'})

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        return self._assign_levels(priors.level_sizes, priors, gt, predictions)

    def _assign_levels(
        self,
        level_sizes: Sequence[int],
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
    ) -> Assignment:
        b, n, device = gt.batch_size, priors.num_priors, priors.device
        rows = gt_rows(gt)
        if n == 0 or rows.num_rows == 0:
            return Assignment.empty(b, n, device)
        prior, exists = self._candidates(priors, rows, level_sizes)  # (K, G)
        overlap = self._overlap_of_rows(priors, gt, predictions, rows, prior)
        claims = overlap >= _mean_plus_std(overlap, exists)
        if exists is not None:
            claims &= exists
        row = torch.arange(rows.num_rows, device=device).expand_as(prior)
        if host_sync_is_free(device):
            at = claims.reshape(-1).nonzero().squeeze(1)
            row, prior, overlap = (v.reshape(-1).index_select(0, at) for v in (row, prior, overlap))
            claims = torch.ones_like(row, dtype=torch.bool)
        row, prior, overlap = row.reshape(-1), prior.reshape(-1), overlap.reshape(-1)
        image = rows.image.index_select(0, row)
        boxes = take_boxes(rows.boxes, row)
        claims = claims.reshape(-1) & rows.valid.index_select(0, row)
        claims &= centers_inside(priors.centers_at(image, prior), boxes, margin=self.margin)
        flat_index, index = image * n + prior, rows.index.index_select(0, row)
        won, owner = winners(flat_index, overlap, index, b * n, claims=claims)
        image = torch.div(won, n, rounding_mode='floor')
        if self.contest_all:
            number = torch.zeros(b * n, dtype=torch.int32, device=device)
            number.index_add_(0, flat_index, claims.int())
            owner = self._contest(priors, gt, image, won - image * n, owner, number[won] > 1)
        ignored = torch.zeros(b, n, dtype=torch.bool, device=device)
        return Assignment(image, won - image * n, owner, ignored, one_to_one=True)

    def _contest(
        self,
        priors: Priors,
        gt: GroundTruth,
        image: Tensor,
        prior: Tensor,
        owner: Tensor,
        contested: Tensor,
    ) -> Tensor:
        """``(K,)`` the gt of each prior; one claimed twice goes to the best gt of the image."""
        at = contested.nonzero().squeeze(1)  # sync: contests

        def overlaps(image: Tensor, prior: Tensor) -> Tensor:
            own = priors.boxes_at(image, prior)[:, None]
            return bbox_overlaps(own, gt.boxes[image])[:, 0]  # (K', M)

        best = best_of_all_gts(image[at], prior[at], gt, overlaps)
        return owner.index_copy(0, at, best)

    def _candidates(
        self, priors: Priors, rows: GtRows, level_sizes: Sequence[int]
    ) -> tuple[Tensor, Tensor | None]:
        """``(K, G)`` priors, level after level, and which of them exist (None: all)."""
        targets = Targets(rows.image, rows.centers)
        searches, first = [], 0
        for size in level_sizes:
            searches.append(Search(priors, targets, first, size))
            first += size
        index, exists = zip(*nearest_topk(searches, self.topk))
        prior_index = torch.cat([part.t() for part in index])
        if priors.valid is None:
            return prior_index, None
        return prior_index, torch.cat([part.t() for part in exists])

    def _overlap_of_rows(
        self,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
        rows: GtRows,
        prior: Tensor,
    ) -> Tensor:
        """``(K, G)`` :meth:`_overlap` of each gt and its candidates."""
        if self.alpha is None and not priors.per_image:
            taken = corners_of_priors(priors).index_select(1, prior.reshape(-1))
            *own, areas = taken.view(5, *prior.shape).unbind(0)
            *gts, gt_areas = corners_of(rows.boxes).unbind(0)
            return iou_of_corners(own, areas, gts, gt_areas)
        image, index = (v.expand_as(prior).reshape(-1) for v in (rows.image, rows.index))
        overlap = self._overlap(priors, gt, predictions, image, prior.reshape(-1), index)
        return overlap.view_as(prior)

    def _overlap(
        self,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
        image: Tensor,
        prior: Tensor,
        index: Tensor,
    ) -> Tensor:
        """``(T,)`` IoU of each prior and gt, or DDOD's mixture."""
        row = image * gt.max_gts + index
        boxes = take_boxes(gt.boxes.reshape(-1, 4), row)
        if self.alpha is None or predictions is None:
            own = priors.boxes_at(image, prior) if priors.per_image else None
            own = take_boxes(priors.boxes, prior) if own is None else own
            return bbox_overlaps(own, boxes, is_aligned=True)
        iou = bbox_overlaps(predictions.boxes[image, prior], boxes, is_aligned=True)
        score = predictions.scores[image, prior, gt.labels[image, index]]
        # A score that is not a number must not spoil the mean of the others.
        return (score ** (1 - self.alpha) * iou**self.alpha).nan_to_num(nan=0.0)

    def assign(  # type: ignore[override]
        self,
        pred_instances: Any,
        num_level_priors: Sequence[int],
        gt_instances: Any,
        gt_instances_ignore: Any = None,
        **kwargs: Any,
    ) -> AssignResult:
        """As :meth:`BaseAssigner.assign`, with the priors of each level second.

        Args:
            pred_instances: See there.
            num_level_priors: Priors of each level; they add up to n.
            gt_instances: See there.
            gt_instances_ignore: See there.
            **kwargs: Not read.

        Raises:
            PairingError: If the head does not hand over the levels.
            ShapeError: If they do not add up.
        """
        if not isinstance(num_level_priors, Sequence):
            raise PairingError(
                f'{type(self).__name__}: expected the numbers of priors of each level second, got '
                f'{type(num_level_priors).__name__}; this head does not hand them over: use '
                'ATSSHead or its kin, or choose MaxIoUAssigner'
            )
        form = self._batch_of_one(pred_instances, gt_instances, gt_instances_ignore)
        sizes = self._checked_levels(num_level_priors, form[0].num_priors)
        self._check(*form)
        return self._result(self._run(*form, partial(self._assign_levels, sizes)), *form)

    @staticmethod
    def _checked_levels(level_sizes: Sequence[int], num_priors: int) -> tuple[int, ...]:
        sizes = tuple(int(size) for size in level_sizes)
        if sum(sizes) != num_priors:
            raise ShapeError(
                f'num_level_priors: {sizes} add up to {sum(sizes)}, '
                f'but there are {num_priors} priors'
            )
        return sizes

    def _max_overlaps(
        self,
        pairs: Assignment,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
    ) -> Tensor | None:
        # As in OpenMMLab: of the positives only, -1e8 elsewhere.
        overlaps = priors.boxes.new_full((priors.num_priors,), -1e8 if gt.max_gts else 0)
        overlaps[pairs.prior] = self._overlap(
            priors, gt, predictions, pairs.image, pairs.prior, pairs.gt
        )
        return overlaps


def _mean_plus_std(overlap: Tensor, exists: Tensor | None) -> Tensor:
    """``(K, G) -> (G,)``, the deviation unbiased; over the candidates that exist.

    With the candidates first, sums go in the order of the established implementation.
    """
    if exists is None and overlap.shape[0] > 1:
        return overlap.mean(dim=0) + overlap.std(dim=0)
    keep = torch.ones_like(overlap) if exists is None else exists.to(overlap.dtype)
    count = keep.sum(dim=0)
    mean = (overlap * keep).sum(dim=0) / count.clamp(min=1)
    square = ((overlap - mean).square() * keep).sum(dim=0) / (count - 1).clamp(min=1)
    return mean + square.sqrt()
