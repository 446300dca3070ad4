"""PAA (probabilistic anchor assignment): positives by a mixture fitted to the losses.

Shapes: B images, N priors, M gts, K pairs, L levels, G gts that have candidates, P most
candidates per gt.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner

# Keeps a component's variance above 0 when its points coincide.
VARIANCE_FLOOR = 1e-6
# Mean log likelihood may change by less than this when the fit has converged.
TOLERANCE = 1e-3
_TINY = 10 * torch.finfo(torch.float64).eps


@dataclass(frozen=True, eq=False)
class Mixture:
    """G mixtures of two Gaussians in one dimension; all ``(G, 2)`` float64."""

    weight: Tensor
    mean: Tensor
    variance: Tensor

    def log_joint(self, values: Tensor) -> Tensor:
        """``(G, P, 2)`` log of weight times density at ``values (G, P)``.

        ``(v - m)^2`` is multiplied out, as scikit-learn has it: of two values on either side
        of their mean, equally dense but for rounding, the same one then counts as denser.
        """
        x = values[..., None]
        root = self.variance.rsqrt()[:, None]
        precision = root * root
        mean = self.mean[:, None]
        square = mean * mean * precision - 2.0 * (x * (mean * precision)) + x * x * precision
        log_density = -0.5 * (math.log(2 * math.pi) + square) + torch.log(root)
        return log_density + torch.log(self.weight)[:, None]


def fit_mixtures(values: Tensor, mask: Tensor, *, max_iters: int = 100) -> Mixture:
    """Fit two Gaussians to each row by expectation maximisation, all rows at once.

    Starts from the least and the largest value as means, equal weights and variance 1. A
    row stops when its mean log likelihood changes by less than 1e-3. Waits for the device
    every few rounds.

    Args:
        values: ``(G, P)`` float64.
        mask: ``(G, P)`` bool, which are real; at least one per row.
        max_iters: Most rounds.
    """
    share = mask.double()
    count = share.sum(dim=1)
    low = torch.where(mask, values, torch.inf).amin(dim=1)
    high = torch.where(mask, values, -torch.inf).amax(dim=1)
    values = torch.where(mask, values, low[:, None])
    ones = values.new_ones(values.shape[0], 2)
    fit = Mixture(ones / 2, torch.stack((low, high), dim=1), ones)
    likelihood = torch.full_like(count, -torch.inf)
    running = torch.ones_like(count, dtype=torch.bool)
    for i in range(max_iters):
        joint = fit.log_joint(values)
        total = joint.logsumexp(dim=-1)
        resp = torch.exp(joint - total[..., None]) * share[..., None]
        step = _maximise(values, resp)
        fit = Mixture(
            *(
                torch.where(running[:, None], new, old)
                for new, old in (
                    (step.weight, fit.weight),
                    (step.mean, fit.mean),
                    (step.variance, fit.variance),
                )
            )
        )
        now = (total * share).sum(dim=1) / count
        running = running & ~((now - likelihood).abs() < TOLERANCE)
        likelihood = now
        if i % 4 == 3 and not bool(running.any()):  # sync: every fourth round
            break
    return fit


def _maximise(values: Tensor, resp: Tensor) -> Mixture:
    """The M step; ``resp (G, P, 2)``."""
    mass = resp.sum(dim=1) + _TINY
    mean = (resp * values[..., None]).sum(dim=1) / mass
    square = (resp * (values * values)[..., None]).sum(dim=1) / mass
    variance = (square - mean * mean).clamp(min=0) + VARIANCE_FLOOR
    return Mixture(mass / mass.sum(dim=1, keepdim=True), mean, variance)


def separate(values: Tensor, mask: Tensor) -> Tensor:
    """``(G, P)`` bool: the values of the lower Gaussian up to the most likely of them.

    Args:
        values: ``(G, P)`` float64, each row ascending, padding last.
        mask: ``(G, P)`` bool.
    """
    joint = fit_mixtures(values, mask).log_joint(values)
    lower = (joint[..., 0] >= joint[..., 1]) & mask
    density = torch.where(lower, joint.logsumexp(dim=-1), -torch.inf)
    last = density.argmax(dim=1, keepdim=True)
    position = torch.arange(values.shape[1], device=values.device)
    chosen = lower & (position <= last)
    # A mixture cannot be fitted to a single candidate: it is positive.
    return torch.where(mask.sum(dim=1, keepdim=True) < 2, mask, chosen)


@TASK_UTILS.register_module()
class PAAAssigner(BaseAssigner):
    """Candidates by IoU; those whose loss belongs to the better of two groups are positive.

    1. ``candidates`` proposes, by default every prior with an IoU of at
       least 0.1, for the gt it overlaps most, and each gt's best prior.
    2. Of each gt and level the ``topk`` candidates with the least loss (classification
       plus box) stay.
    3. A mixture of two Gaussians is fitted to a gt's losses. Positive are the candidates
       more likely in the Gaussian of the lower mean, up to the loss where the mixture's
       density is largest among them; the others are negative.

    Kim & Lee, Probabilistic Anchor Assignment with IoU Prediction for Object Detection,
    ECCV 2020, algorithm 1, separation scheme (c). The losses come
    from the head, between the two steps (:meth:`refine`); OpenMMLab's form of the call
    stops after the first, as OpenMMLab's PAAHead expects. A gt's only candidate is positive,
    as in the authors' code (OpenMMLab's head drops it).

    In plain loops: :func:`registry_losses.testing.reference.assigners.paa`.

    Args:
        topk: Candidates that a gt keeps on each level.
        candidates: Config node or object of the assigner that proposes.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Example:
        >>> assigner = PAAAssigner(topk=9)
    """

    needs = frozenset({'pair_loss'})

    def __init__(
        self,
        topk: int = 9,
        candidates: Mapping | BaseAssigner | None = None,
        *,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        if topk < 1:
            raise ConfigError(f'topk: expected >= 1, got {topk}')
        self.topk = topk
        if candidates is None:
            candidates = dict(
                type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0
            )
        if not isinstance(candidates, BaseAssigner):
            candidates = TASK_UTILS.build(candidates)
        self.candidates: BaseAssigner = candidates  # type: ignore[assignment]
        self.needs = self.needs | self.candidates.needs
        self.requires_grid = self.candidates.requires_grid

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        return self.candidates._assign(priors, gt, predictions)

    def refine(
        self, assignment: Assignment, priors: Priors, gt: GroundTruth, pair_loss: Tensor
    ) -> Assignment:
        """Steps 2 and 3; see :meth:`BaseAssigner.refine`."""
        if assignment.num_pairs == 0:
            return assignment
        loss = torch.nan_to_num(pair_loss.detach().double())
        gt_at = assignment.image * gt.max_gts + assignment.gt
        level = gt_at * len(priors.level_sizes) + priors.level_ids[assignment.prior]
        order, rank = _order_in_groups(loss, level)
        order = order[rank < self.topk]  # sync: compact candidates
        again, _ = _order_in_groups(loss[order], gt_at[order])
        order = order[again]
        _, counts = torch.unique_consecutive(gt_at[order], return_counts=True)
        # (G, P): a gt's losses ascending
        columns = torch.arange(self.topk * len(priors.level_sizes), device=loss.device)
        mask = columns < counts[:, None]
        values = torch.zeros_like(mask, dtype=torch.float64)
        values[mask] = loss[order]
        chosen = separate(values, mask)[mask]
        kept = order[chosen].sort().values  # the pairs stay in order
        region = self._ignore_region(priors, gt)
        return self._mark_ignored(assignment.select(kept), priors, gt, region)


def _order_in_groups(values: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Order by group, then by value; and each place's rank within its group. Both ``(K,)``."""
    order = torch.argsort(values, stable=True)
    order = order[torch.argsort(group[order], stable=True)]
    group = group[order]
    place = torch.arange(group.shape[0], device=group.device)
    first = torch.ones_like(group, dtype=torch.bool)
    first[1:] = group[1:] != group[:-1]
    start = torch.where(first, place, 0).cummax(dim=0).values
    return order, place - start
