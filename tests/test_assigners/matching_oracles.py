"""Naive forms of the centre rules and the matching assigners: whole matrices, plain loops."""

import math

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from registry_losses.assigners.fcos import regress_ranges_of
from registry_losses.ops import bbox_overlaps
from registry_losses.structures import GroundTruth, Predictions, Priors

F = np.float32
Pair = tuple[int, int, int]


class Scene:
    """One image, with its whole matrices."""

    def __init__(
        self, priors: Priors, gt: GroundTruth, image: int, predictions: Predictions | None = None
    ) -> None:
        self.centers = priors.centers[image] if priors.per_image else priors.centers
        self.strides = priors.strides
        self.level = priors.level_ids
        self.boxes, self.points = gt.boxes[image], gt.points[image]
        self.gts = [g for g in range(gt.max_gts) if gt.valid[image, g]]
        self.real = gt.valid[image]
        self.labels, self.size = gt.labels[image], gt.image_sizes[image]
        n = priors.num_priors
        self.valid = torch.ones(n, dtype=torch.bool)
        if priors.valid is not None:
            self.valid = priors.valid[image]
        self.prior_index = self.valid.nonzero()[:, 0].tolist()
        if predictions is not None:
            self.scores = predictions.scores[image]
            self.iou = bbox_overlaps(predictions.boxes[image], self.boxes)  # (N, M)
            self.iou[:, ~self.real] = 0
            self.label_scores = self.scores[:, self.labels]  # (N, M)

    def in_box(self, margin: float = 0) -> Tensor:
        """(N, M), whether a prior's centre lies inside a gt."""
        low = self.centers[:, None] - self.boxes[:, :2]
        high = self.boxes[:, 2:] - self.centers[:, None]
        inside = torch.cat((low, high), dim=-1).amin(dim=-1) > margin
        return inside & self.real & self.valid[:, None]

    def near(self, radius: float) -> Tensor:
        """(N, M), whether it lies within some strides of the gt's centre."""
        center = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        reach = radius * self.strides[:, None]
        low = self.centers[:, None] - (center - reach)
        high = (center + reach) - self.centers[:, None]
        inside = torch.cat((low, high), dim=-1).amin(dim=-1) > 0
        return inside & self.real & self.valid[:, None]


def fcos(priors: Priors, gt: GroundTruth, radius: float | None) -> list[Pair]:
    """Every prior and gt, one after the other."""
    ranges, pairs = regress_ranges_of(priors.levels), []
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b)
        near = None if radius is None else s.near(radius)
        for n in s.prior_index:
            best, owner = math.inf, None
            x, y = s.centers[n].numpy()
            low, high = ranges[int(s.level[n])]
            for g in s.gts:
                x1, y1, x2, y2 = s.boxes[g].numpy()
                sides = (x - x1, y - y1, x2 - x, y2 - y)
                if min(sides) <= 0 or not low <= max(sides) <= high:
                    continue
                if near is not None and not near[n, g]:
                    continue
                area = (x2 - x1) * (y2 - y1)
                if area < best:
                    best, owner = area, g
            if owner is not None:
                pairs.append((b, n, owner))
    return pairs


def bumps(priors: Priors, gt: GroundTruth, num_classes: int, shape) -> tuple[np.ndarray, set]:
    """Heatmaps by loops.

    Args:
        priors: Priors on a grid.
        gt: The gts.
        num_classes: C.
        shape: ``shape(level, i, scene, g)`` gives None, or cell, mean, radius, sigma and
            whether the cell is positive.

    Returns:
        ``(B, N, C)`` targets, and the positive (image, prior, gt).
    """
    heat = np.zeros((gt.batch_size, priors.num_priors, num_classes), dtype=F)
    pairs = set()
    for b in range(gt.batch_size):
        s, first = Scene(priors, gt, b), 0
        for i, level in enumerate(priors.levels):
            for g in s.gts:
                bump = shape(level, i, s, g)
                if bump is None:
                    continue
                (cx, cy), (mx, my), radius, sigma, positive = bump
                for y in range(max(cy - radius, 0), min(cy + radius, level.height - 1) + 1):
                    for x in range(max(cx - radius, 0), min(cx + radius, level.width - 1) + 1):
                        value = math.exp(-((x - mx) ** 2 + (y - my) ** 2) / (2 * sigma**2))
                        for a in range(level.num_base):
                            n = first + (y * level.width + x) * level.num_base + a
                            if not s.valid[n]:
                                continue
                            cell = heat[b, n, s.labels[g] : s.labels[g] + 1]
                            cell[:] = np.maximum(cell, value)
                            if positive and (x, y) == (cx, cy):
                                pairs.add((b, n, g))
            first += level.num_priors
    return heat, pairs


def simota_cost(s: Scene, radius: float) -> tuple[Tensor, Tensor]:
    """The cost of every pair, and which priors take part."""
    in_box, near = s.in_box(), s.near(radius)
    negative = -torch.log1p(-s.scores).clamp(min=-100)
    wrong = -torch.log1p(-s.label_scores).clamp(min=-100)
    right = -torch.log(s.label_scores).clamp(min=-100)
    cls = negative.sum(dim=1)[:, None] - wrong + right
    cost = cls + -torch.log(s.iou + 1e-7) * 3.0 + 1e5 * ~(in_box & near)
    return cost, (in_box | near).any(dim=1)


def soft_label_cost(s: Scene, radius: float) -> tuple[Tensor, Tensor]:
    """The same of RTMDet."""
    top = 1 - 2.0**-24
    scores = s.scores.clamp(max=top)
    other = -torch.log1p(-scores) * s.scores * s.scores
    p = s.label_scores
    softplus = -torch.log1p(-p.clamp(max=top))
    logit = torch.log(p.clamp(min=1e-30)) + softplus
    right = (softplus - logit * s.iou) * (s.iou - p).square()
    cls = (other.sum(dim=1)[:, None] - softplus * p * p).clamp(min=0) + right
    center = (s.boxes[:, :2] + s.boxes[:, 2:]) / 2
    distance = (s.centers[:, None] - center).square().sum(-1).sqrt() / s.strides[:, :1]
    cost = cls + -torch.log(s.iou + 1e-7) * 3.0 + torch.pow(10, distance - radius)
    return cost, s.in_box().any(dim=1)


def dynamic_k(priors: Priors, gt: GroundTruth, predictions: Predictions, price, topk: int) -> list:
    """Dynamic-k matching on whole matrices: SimOTA and DynamicSoftLabel."""
    pairs = []
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b, predictions)
        if not s.gts:
            continue
        cost, taking_part = price(s)
        prior_index = taking_part.nonzero()[:, 0].tolist()
        takers: dict[int, list[int]] = {}
        for g in s.gts:
            ious = sorted((float(s.iou[n, g]) for n in prior_index), reverse=True)[:topk]
            total = F(0)
            for value in ious:
                total += F(value)
            k = max(int(total), 1)
            order = sorted(prior_index, key=lambda n: (float(cost[n, g]), n))
            for n in order[:k]:
                takers.setdefault(n, []).append(g)
        for n, gts in takers.items():
            if len(gts) > 1:
                gts = [min(s.gts, key=lambda g: (float(cost[n, g]), g))]
            pairs.append((b, n, gts[0]))
    return sorted(pairs)


def task_aligned(
    priors: Priors, gt: GroundTruth, predictions: Predictions, topk: int, *, inside_first: bool
) -> dict[Pair, float]:
    """Pairs and their normalised alignment."""
    quality: dict[Pair, float] = {}
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b, predictions)
        u2 = s.iou * s.iou
        t = s.label_scores * (u2 * u2 * u2)
        inside = s.in_box(0 if inside_first else 0.01)
        takers: dict[int, list[int]] = {}
        for g in s.gts:
            prior_index = [n for n in s.prior_index if inside[n, g] or not inside_first]
            order = sorted(prior_index, key=lambda n: (-float(t[n, g]), n))[:topk]
            for n in order:
                if t[n, g] > 0 and inside[n, g]:
                    takers.setdefault(n, []).append(g)
        own: dict[int, list[int]] = {}
        for n, gts in takers.items():
            if len(gts) > 1:
                rivals = s.gts if inside_first else gts
                gts = [min(rivals, key=lambda g: (-float(s.iou[n, g]), g))]
            own.setdefault(gts[0], []).append(n)
        for g, prior_index in own.items():
            best_t = max(float(t[n, g]) for n in prior_index)
            best_u = max(float(s.iou[n, g]) for n in prior_index)
            for n in prior_index:
                quality[b, n, g] = float(t[n, g]) * best_u / (best_t + 1e-7)
    return quality


def ota(
    priors: Priors, gt: GroundTruth, predictions: Predictions, *, rescale: bool, topk: int = 20
) -> list[Pair]:
    """Sinkhorn on the dense cost of one image, in double precision, impossible pairs infinite."""
    pairs = []
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b, predictions)
        if not s.gts or not s.prior_index:
            continue
        allowed = s.in_box() & s.near(2.5)
        for g in s.gts:
            if not allowed[:, g].any():
                center = (s.boxes[g, :2] + s.boxes[g, 2:]) / 2
                distance = (s.centers - center).square().sum(dim=1)
                allowed[min(s.prior_index, key=lambda n: (float(distance[n]), n)), g] = True
        p, q = s.scores.double(), s.label_scores.double()
        none = (0.75 * p**2 * -torch.log(1 - p + 1e-12)).sum(dim=1)
        fg = none[:, None] - 0.75 * q**2 * -torch.log(1 - q + 1e-12)
        fg = fg + 0.25 * (1 - q) ** 2 * -torch.log(q + 1e-12)
        fg = fg - 1.5 * torch.log(s.iou.double() + 1e-7)
        cost = torch.where(allowed, fg, torch.inf)[s.prior_index][:, s.gts].t()  # (G, n)
        cost = torch.cat((cost, none[None, s.prior_index])).numpy()
        supply = []
        for g in s.gts:
            best = torch.sort(s.iou[s.prior_index, g], descending=True).values[:topk]
            supply.append(min(max(int(best.sum()), 1), int(allowed[:, g].sum())))
        supply.append(max(len(s.prior_index) - sum(supply), 1e-8))
        plan = _sinkhorn(cost, np.array(supply, dtype=float))
        scaled = plan / plan.max(axis=1, keepdims=True) if rescale else plan
        for j, n in enumerate(s.prior_index):
            shares = scaled[:-1, j]
            rivals = [i for i in range(len(s.gts)) if shares[i] >= shares.max() * (1 - 1e-6)]
            most = max(plan[i, j] for i in rivals)
            rivals = [i for i in rivals if plan[i, j] >= most * (1 - 1e-6)]
            winner = min(rivals, key=lambda i: (F(cost[i, j]), i))
            if shares[winner] > scaled[-1, j]:
                pairs.append((b, n, s.gts[winner]))
    return sorted(pairs)


def _sinkhorn(cost: np.ndarray, supply: np.ndarray, gamma: float = 0.1) -> np.ndarray:
    kernel = -cost / gamma
    u, v = np.zeros(len(supply)), np.zeros(cost.shape[1])
    for _ in range(50):
        v = -np.logaddexp.reduce(kernel + u[:, None], axis=0)
        u = np.log(supply) - np.logaddexp.reduce(kernel + v[None], axis=1)
    return np.exp(kernel + u[:, None] + v[None])


def paa(pairs: list[Pair], loss: np.ndarray, level: list[int], topk: int) -> list[Pair]:
    """The second step, gt by gt, with scikit-learn's mixture."""
    kept = []
    for gt in sorted({(b, g) for b, _, g in pairs}):
        mine = [i for i, (b, _, g) in enumerate(pairs) if (b, g) == gt]
        few: list[int] = []
        for one in sorted({level[i] for i in mine}):
            few += sorted((i for i in mine if level[i] == one), key=lambda i: loss[i])[:topk]
        few.sort(key=lambda i: loss[i])
        if len(few) < 2:
            kept += few
            continue
        values = loss[few].astype(float)[:, None]
        mixture = GaussianMixture(
            2,
            weights_init=[0.5, 0.5],
            means_init=values[[0, -1]],
            precisions_init=np.ones((2, 1)),
            covariance_type='diag',
        ).fit(values)
        low = mixture.predict(values) == 0
        if low.any():
            density = np.where(low, mixture.score_samples(values), -np.inf)
            last = (density >= density.max() - 1e-6).argmax()
            kept += [i for rank, i in enumerate(few) if low[rank] and rank <= last]
    return sorted(pairs[i] for i in kept)
