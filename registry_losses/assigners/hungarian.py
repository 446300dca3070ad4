"""Hungarian matching: one prior per gt, the least total cost (DETR).

Shapes: B images, N priors, n priors of a block, M gts, k cheapest priors of a gt, U priors of
one image that are among the cheapest of any gt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, MissingDependencyError
from ..ops.segments import NO_KEY, best_key, split_best_key
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.prior_blocks import prior_chunks
from .matching.costs import MatchCost, MatchInputs
from .openmmlab import AssignResult

# Stands for a pair that must not be, in place of infinity, which solvers refuse; a power of
# two, so that it is the same number in float32.
FORBIDDEN = 2.0**60
# The device's solver reads the whole (B, M, N) cost.
MOST_DEVICE_ELEMENTS = 2**24


@TASK_UTILS.register_module()
class HungarianAssigner(BaseAssigner):
    """Every gt gets one prior of its own, such that the sum of the costs is least.

    In an optimal matching every gt has one of its M cheapest priors (of M priors, at most
    M - 1 can be taken by others), so each gt's M cheapest are found in one streamed pass,
    and only these go to the host, in one transfer for the whole batch, where SciPy solves
    each image exactly. On CUDA, where the package ``torch_linear_assignment`` is
    installed, its batched solver runs on the device instead, if the costs fit. Which of
    several optimal matchings is returned is not defined. With more gts than priors, some
    gts have no prior.

    Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, section 3.1.

    ``predictions.scores`` are probabilities, here as everywhere; :meth:`assign`,
    OpenMMLab's form, takes logits, to which it applies what the class cost asks for:
    softmax for ClassificationCost, sigmoid for FocalLossCost.

    In plain loops: :func:`registry_losses.testing.reference.assigners.hungarian`.

    Args:
        match_costs: Config nodes or objects; their sum is minimised. DETR's by default:
            classification 1, L1 5, generalised IoU 2.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Raises:
        MissingDependencyError: If SciPy is not installed.

    Example:
        >>> costs = [dict(type='FocalLossCost', weight=2.0), dict(type='IoUCost', weight=2.0)]
        >>> assigner = HungarianAssigner(costs)
    """

    needs = frozenset({'predictions'})
    hides_non_finite = False  # they are forbidden by their cost
    #: Most priors of a gt.
    topk = 1

    def __init__(
        self,
        match_costs: Sequence[Mapping | MatchCost] | Mapping | MatchCost | None = None,
        *,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        if match_costs is None:
            match_costs = (
                dict(type='ClassificationCost', weight=1.0),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            )
        if isinstance(match_costs, (Mapping, MatchCost)):
            match_costs = (match_costs,)
        if not match_costs:
            raise ConfigError('match_costs: expected at least one cost, got none')
        self.match_costs = tuple(
            cost if isinstance(cost, MatchCost) else TASK_UTILS.build(cost) for cost in match_costs
        )
        _scipy_solver()

    def cost(self, gt: GroundTruth, predictions: Predictions, part: slice = slice(None)) -> Tensor:
        """``(B, n, M)`` total cost of some priors."""
        inputs = MatchInputs(
            predictions.boxes[:, part],
            predictions.scores[:, part],
            gt.boxes,
            gt.labels,
            gt.image_sizes,
        )
        total = self.match_costs[0](inputs)
        for cost in self.match_costs[1:]:
            total = total + cost(inputs)
        return torch.nan_to_num(total, nan=FORBIDDEN, posinf=FORBIDDEN, neginf=-FORBIDDEN)

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        assert predictions is not None
        (b, m), n = gt.valid.shape, priors.num_priors
        if m == 0 or n == 0:
            return Assignment.empty(b, n, priors.device)
        solver = _device_solver() if gt.device.type == 'cuda' and self.topk == 1 else None
        if solver is not None and n >= m and b * n * m <= MOST_DEVICE_ELEMENTS:
            image, index, prior = self._solve_on_device(priors, gt, predictions, solver)
        else:
            image, index, prior = self._solve_on_host(priors, gt, predictions)
        ignored = torch.zeros(b, n, dtype=torch.bool, device=priors.device)
        return Assignment(image, prior, index, ignored, one_to_one=True)

    def _solve_on_host(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions
    ) -> tuple[Tensor, Tensor, Tensor]:
        cheapest = self._cheapest(priors, gt, predictions)
        keys = cheapest.cpu()  # sync: the one transfer of the batch
        costs, prior_index = split_best_key(keys, largest=False)
        exists = keys != NO_KEY
        parts = zip(costs.numpy(), prior_index.numpy(), exists.numpy())
        copies = self._copies(priors, gt)
        solved = [_solve_image(*image, k) for image, k in zip(parts, copies)]
        images = np.concatenate([np.full(len(rows), i) for i, (rows, _) in enumerate(solved)])
        found = np.stack(
            (
                images,
                np.concatenate([rows for rows, _ in solved]),
                np.concatenate([prior_index for _, prior_index in solved]),
            )
        )
        image, index, prior = torch.from_numpy(found).long().to(gt.device).unbind(0)
        return image, index, prior

    def _copies(self, priors: Priors, gt: GroundTruth) -> list[int]:
        """How many priors each gt of an image gets."""
        return [1] * gt.batch_size

    def _cheapest(self, priors: Priors, gt: GroundTruth, predictions: Predictions) -> Tensor:
        """``(B, M, k)`` int64: the keys of each gt's cheapest priors, cost high, prior low."""
        b, m = gt.valid.shape
        k = min(m * self.topk, priors.num_priors)
        best = torch.full((b, m, 0), NO_KEY, device=gt.device)
        for part in prior_chunks(priors, m, b):
            cost = self.cost(gt, predictions, part).transpose(1, 2)  # (B, M, n)
            prior_index = torch.arange(part.start, part.stop, device=gt.device)
            key = best_key(cost, prior_index, largest=False)
            allowed = gt.valid[..., None]
            if priors.valid is not None:
                allowed = allowed & priors.valid[:, None, part]
            best = torch.cat((best, torch.where(allowed, key, NO_KEY)), dim=-1)
            best = best.topk(min(k, best.shape[-1]), dim=-1).values
        return best

    def _solve_on_device(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions, solver: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        cost = self.cost(gt, predictions).transpose(1, 2)  # (B, M, N)
        if priors.valid is not None:
            cost = torch.where(priors.valid[:, None], cost, FORBIDDEN)
        # Padding is matched too, at no cost: as there are no fewer priors than gts, it takes
        # what the others leave.
        cost = torch.where(gt.valid[..., None], cost, 0).contiguous()
        prior = solver(cost)  # (B, M), -1 for none
        paid = cost.gather(2, prior.clamp(min=0)[..., None])[..., 0]
        image, index = ((prior >= 0) & gt.valid & (paid < FORBIDDEN)).nonzero(as_tuple=True)
        return image, index, prior[image, index]

    def assign(  # type: ignore[override]  # OpenMMLab's own third argument here
        self,
        pred_instances: Any,
        gt_instances: Any,
        img_meta: Mapping | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """OpenMMLab's form: ``scores`` are logits; ``img_meta['img_shape']`` the image's size."""
        bboxes = getattr(pred_instances.bboxes, 'tensor', pred_instances.bboxes)
        pred_instances = SimpleNamespace(
            # DETR's queries have no priors: the predicted boxes take their place.
            priors=getattr(pred_instances, 'priors', bboxes.detach()),
            bboxes=bboxes,
            scores=_activate(pred_instances.scores, self.match_costs),
        )
        priors, gt, predictions = self._batch_of_one(pred_instances, gt_instances, None)
        if img_meta is not None:
            height, width = img_meta['img_shape'][:2]
            gt = replace(gt, image_sizes=gt.boxes.new_tensor([[height, width]]))
        form = priors, gt, predictions
        return self._result(self(*form), *form)

    def _max_overlaps(self, *_: Any) -> None:
        return None


def _activate(scores: Tensor, costs: Sequence[MatchCost]) -> Tensor:
    wanted = {cost.activation for cost in costs} - {None}
    if len(wanted) > 1:
        raise ConfigError(
            'match_costs: one reads softmax and one sigmoid scores; logits cannot serve both'
        )
    if wanted == {'softmax'}:
        return scores.softmax(dim=-1)
    return scores.sigmoid()


def _solve_image(
    costs: np.ndarray, priors: np.ndarray, exists: np.ndarray, copies: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Match one image by each gt's cheapest priors.

    Args:
        costs: ``(M, k)`` float32.
        priors: ``(M, k)`` int64, the priors that have these costs.
        exists: ``(M, k)`` bool, which of them are priors that may be matched.
        copies: How many priors each gt gets.

    Returns:
        The matched gts and their priors.
    """
    rows = np.flatnonzero(exists.any(axis=1))
    costs, priors, exists = costs[rows], priors[rows], exists[rows]
    used, column = np.unique(priors[exists], return_inverse=True)
    cost = np.full((len(rows), len(used)), FORBIDDEN)
    cost[np.nonzero(exists)[0], column] = costs[exists]
    row, matched = _scipy_solver()(np.repeat(cost, copies, axis=0))
    row = row // copies
    kept = cost[row, matched] < FORBIDDEN
    return rows[row[kept]], used[matched[kept]]


def _scipy_solver() -> Any:
    try:
        return import_module('scipy.optimize').linear_sum_assignment
    except ImportError as error:
        raise MissingDependencyError('HungarianAssigner needs SciPy: pip install scipy') from error


def _device_solver() -> Any:
    """The batched solver of ``torch_linear_assignment``, or None."""
    try:
        return import_module('torch_linear_assignment').batch_linear_assignment
    except ImportError:
        return None
