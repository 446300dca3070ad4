"""OTA: label assignment as optimal transport, solved by Sinkhorn's iteration.

Shapes: B images, N priors, M gts, G gts of the batch in one list, T candidate pairs, C
classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.segments import count_of
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner
from .candidates.centers import around_center, find_candidates, inside_both, inside_box
from .candidates.gt_rows import GtRows, gt_rows
from .candidates.predicted_overlaps import sum_of_top_overlaps
from .candidates.prior_blocks import nearest_priors
from .conflicts import resolve_conflicts
from .matching.pairs import PairReader, Pairs, sum_over_classes

IOU_EPS = 1e-7
# Stands for the logarithm of 0, of which differences stay finite.
_LOG_ZERO = -1e30
# Logarithms of shares that differ by less are equal.
SAME_SHARE = 1e-6
_SCORE_EPS = 1e-12
# More than any focal loss of a prior.
_BAD_COST = 1e4


@dataclass(frozen=True, eq=False)
class Problem:
    """The transport problems of a batch, with one background for each image.

    A pair that is not listed has an infinite cost, so only candidates are held. Priors
    without a candidate get their label from the background at any cost; only their number
    matters.

    Args:
        row: ``(T,)`` int64 supplier (a gt), in [0, G).
        column: ``(T,)`` int64 demander (a prior some gt may serve), in [0, D).
        cost: ``(T,)``.
        supply: ``(G,)`` labels each gt has.
        image: ``(D,)`` int64, the image of each demander.
        background_cost: ``(D,)`` cost of the background's label.
        background_supply: ``(B,)`` labels each background has.
        free: ``(B,)`` priors that only the background serves.
    """

    row: Tensor
    column: Tensor
    cost: Tensor
    supply: Tensor
    image: Tensor
    background_cost: Tensor
    background_supply: Tensor
    free: Tensor


def _log_sum_exp(values: Tensor, segment: Tensor, num_segments: int, start: Tensor) -> Tensor:
    """``log(exp(start) + sum of exp(values))`` a segment; ``start (S,)`` must be finite."""
    highest = start.scatter_reduce(0, segment, values, 'amax')
    total = torch.exp(start - highest)
    total.index_add_(0, segment, torch.exp(values - highest.index_select(0, segment)))
    return highest + torch.log(total)


def sinkhorn(problem: Problem, *, gamma: float, iterations: int) -> tuple[Tensor, Tensor, Tensor]:
    """The regularised optimal plan.

    Alternately scales columns and rows of ``exp(-cost / gamma)`` to the demands (1) and
    the supplies, in logarithms (Cuturi 2013; Ge et al. 2021, the Sinkhorn-Knopp iteration).

    Args:
        problem: The transport problems.
        gamma: Strength of the entropic regularisation.
        iterations: How often to scale.

    Returns:
        ``(T,)`` how much each gt gives to each candidate; ``(D,)`` how much the background gives
        to each of these priors; and ``(B,)`` how much to a prior that no gt may serve. All are
        logarithms.
    """
    rows, columns = problem.supply.shape[0], problem.image.shape[0]
    images = problem.free.shape[0]
    kernel = -problem.cost / gamma
    background = -problem.background_cost / gamma
    log_supply = torch.log(problem.supply)
    log_background = torch.log(problem.background_supply.clamp(min=1e-8))
    log_free = torch.where(problem.free > 0, torch.log(problem.free), _LOG_ZERO)
    u = torch.zeros_like(problem.supply)
    u_background = torch.zeros_like(problem.free)
    v = background.new_zeros(columns)
    lowest = torch.full_like(u, _LOG_ZERO)
    for _ in range(iterations):
        own = background + u_background.index_select(0, problem.image)
        v = -_log_sum_exp(kernel + u.index_select(0, problem.row), problem.column, columns, own)
        given = kernel + v.index_select(0, problem.column)
        u = log_supply - _log_sum_exp(given, problem.row, rows, lowest)
        # A prior that only the background serves has v = -(u_background + kernel).
        before = u_background
        u_background = log_background - _log_sum_exp(
            background + v, problem.image, images, log_free - before
        )
    plan = kernel + u.index_select(0, problem.row) + v.index_select(0, problem.column)
    shared = background + v + u_background.index_select(0, problem.image)
    return plan, shared, u_background - before


@TASK_UTILS.register_module()
class OTAAssigner(BaseAssigner):
    """Gts supply positive labels, the background negative ones; the cheapest plan decides.

    * Giving gt i's label to prior j costs ``FL(scores_j, class_i) + reg_weight (-log IoU)``,
      the background's ``FL(scores_j, none)``, FL the sigmoid focal loss over all classes.
    * Only priors inside the gt's box and within ``center_radius`` strides of its centre
      can take its label; a gt with no such prior has the nearest one.
    * A gt supplies k labels, the sum of its ``candidate_topk`` best IoUs rounded down, at
      least 1 and at most one per prior that can take it; the background supplies the rest.
    * The plan of least cost, with an entropic term of strength ``gamma``, is found by
      ``num_iters`` Sinkhorn iterations; a prior is positive for the gt that gives it the
      most, if that is more than the background gives.

    Ge et al., OTA: Optimal Transport Assignment for Object Detection, CVPR 2021,
    algorithm 1. Two points follow the authors' code: the centre region (the paper
    takes the r^2 nearest priors of each level, r = 5) is clipped to the box; and with
    ``rescale`` each gt's shares, and the background's, are divided by their largest
    before they are compared, so that a gt whose labels are spread thin keeps a prior. Of
    gts whose largest share goes to the same prior the one that gives it more has it, then
    the cheaper one, then the first.

    In plain loops: :func:`registry_losses.testing.reference.assigners.ota`.

    Args:
        center_radius: Reach of the centre region in strides.
        candidate_topk: q, IoUs summed for k.
        reg_weight: alpha, weight of the IoU cost.
        gamma: Strength of the entropic term.
        num_iters: T, iterations.
        focal_alpha: alpha of the focal loss.
        focal_gamma: gamma of the focal loss.
        rescale: See above.
        ignore_iof_thr: See :class:`BaseAssigner`.
        ignore_wrt_candidates: See :class:`BaseAssigner`.

    Example:
        >>> assigner = OTAAssigner(center_radius=2.5)
    """

    needs = frozenset({'predictions'})
    priors_form = 'points'

    def __init__(
        self,
        center_radius: float = 2.5,
        candidate_topk: int = 20,
        reg_weight: float = 1.5,
        gamma: float = 0.1,
        num_iters: int = 50,
        *,
        focal_alpha: float = 0.25,
        focal_gamma: float = 2.0,
        rescale: bool = True,
        ignore_iof_thr: float | None = None,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr, ignore_wrt_candidates=ignore_wrt_candidates)
        for name, value in (('gamma', gamma), ('num_iters', num_iters)):
            if value <= 0:
                raise ConfigError(f'{name}: expected > 0, got {value}')
        self.center_radius = center_radius
        self.candidate_topk = candidate_topk
        self.reg_weight = reg_weight
        self.gamma = gamma
        self.num_iters = num_iters
        self.focal_alpha = focal_alpha
        self.focal_gamma = focal_gamma
        self.rescale = rescale

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        assert predictions is not None
        b, n = gt.batch_size, priors.num_priors
        rows = gt_rows(gt)
        reader = PairReader(priors, gt, predictions)
        if rows.num_rows == 0 or n == 0:
            return Assignment.empty(b, n, priors.device)
        pairs = self._candidates(reader, rows)
        if len(pairs) == 0:
            return Assignment.empty(b, n, priors.device)
        problem = self._problem(reader, pairs)
        plan, background, alone = sinkhorn(problem, gamma=self.gamma, iterations=self.num_iters)
        share = plan
        if self.rescale:
            share, background = self._rescaled(problem, plan, background, alone)
        wins = self._largest_share(problem, share, plan, pairs.gt)
        chosen = pairs.at(wins & (share > background.index_select(0, problem.column)))
        ignored = torch.zeros(b, n, dtype=torch.bool, device=priors.device)
        return Assignment(chosen.image, chosen.prior, chosen.gt, ignored, one_to_one=True)

    def _candidates(self, reader: PairReader, rows: GtRows) -> Pairs:
        """Priors near the centre, or the nearest prior of gts that have none."""
        priors, gt = reader.priors, reader.gt
        region = inside_both(inside_box, around_center(self.center_radius))
        found = find_candidates(priors, rows, gt, region)
        pairs = reader.pairs_of(found)
        without = (found.counts == 0) & rows.valid
        row = without.nonzero().squeeze(1)  # sync: gts without a prior
        if row.numel() == 0:
            return pairs
        rows = rows.part(row)
        flat_index, exists = nearest_priors(priors, rows)
        nearest = reader.pairs(rows.image, rows.index, flat_index)
        return Pairs.cat([pairs, nearest.at(exists)])

    def _problem(self, reader: PairReader, pairs: Pairs) -> Problem:
        priors, gt, predictions = reader.priors, reader.gt, reader.predictions
        b, n = gt.batch_size, priors.num_priors
        gts, row = torch.unique(pairs.gt_at, return_inverse=True)
        prior_index, column = torch.unique(pairs.flat_index, return_inverse=True)
        none = sum_over_classes(predictions.scores, self._negative_loss)
        score = reader.scores(pairs)
        cost = none.index_select(0, pairs.flat_index) - self._negative_loss(score)
        cost = cost + self._positive_loss(score)
        cost = cost - self.reg_weight * torch.log(reader.overlaps(pairs) + IOU_EPS)
        allowed = torch.ones(b, n, dtype=torch.bool, device=gt.device)
        if priors.valid is not None:
            allowed = priors.valid
        k = sum_of_top_overlaps(predictions.boxes, gt, allowed, self.candidate_topk).long()
        k = k.reshape(-1).index_select(0, gts).clamp(min=1)
        supply = torch.minimum(k, count_of(row, gts.shape[0])).double()
        # A score that is not a number: the prior prefers the background.
        none, cost = none.nan_to_num(nan=_BAD_COST), cost.nan_to_num(nan=2 * _BAD_COST)
        image = prior_index // n
        supplied = supply.new_zeros(b).index_add_(0, gts // gt.max_gts, supply)
        size = allowed.sum(dim=1)
        return Problem(
            row=row,
            column=column,
            # Iterated in double precision: 50 rounds of exponentials add up.
            cost=cost.double(),
            supply=supply,
            image=image,
            background_cost=none.index_select(0, prior_index).double(),
            background_supply=(size - supplied).double(),
            free=(size - count_of(image, b)).double(),
        )

    def _negative_loss(self, scores: Tensor) -> Tensor:
        loss = -torch.log(1 - scores + _SCORE_EPS)
        return (1 - self.focal_alpha) * scores.pow(self.focal_gamma) * loss

    def _positive_loss(self, scores: Tensor) -> Tensor:
        loss = -torch.log(scores + _SCORE_EPS)
        return self.focal_alpha * (1 - scores).pow(self.focal_gamma) * loss

    @staticmethod
    def _largest_share(problem: Problem, share: Tensor, plan: Tensor, gt: Tensor) -> Tensor:
        """``(T,)`` bool, one per prior: the largest share, then what is really given, then cost.

        Several gts may offer a prior the largest share, 1 after scaling, and gts that have
        the same only prior also give it the same.
        """
        columns = problem.image.shape[0]
        wins = torch.ones_like(share, dtype=torch.bool)
        for value in (share, plan):
            value = torch.where(wins, value, -torch.inf)
            best = value.new_full((columns,), -torch.inf)
            best = best.scatter_reduce(0, problem.column, value, 'amax')
            wins = value >= best.index_select(0, problem.column) - SAME_SHARE
        cost = torch.where(wins, problem.cost, torch.inf).float()
        return resolve_conflicts(problem.column, cost, gt, columns, largest=False)

    @staticmethod
    def _rescaled(
        problem: Problem, plan: Tensor, background: Tensor, alone: Tensor
    ) -> tuple[Tensor, Tensor]:
        best = torch.full_like(problem.supply, -torch.inf)
        best = best.scatter_reduce(0, problem.row, plan, 'amax')
        most = torch.where(problem.free > 0, alone, -torch.inf)
        most = most.scatter_reduce(0, problem.image, background, 'amax')
        return (
            plan - best.index_select(0, problem.row),
            background - most.index_select(0, problem.image),
        )
