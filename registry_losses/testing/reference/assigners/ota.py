"""OTAAssigner in plain loops: the transport problem as one dense matrix."""

import math

import numpy as np

from .image import Answer, F, Image

SAME = 1 - 1e-6  # shares that differ by less are equal


def ota(
    image: Image,
    center_radius: float = 2.5,
    candidate_topk: int = 20,
    reg_weight: float = 1.5,
    gamma: float = 0.1,
    num_iters: int = 50,
    rescale: bool = True,
) -> Answer:
    """Gts supply positive labels, the background negative ones; the cheapest plan decides.

    Ge et al., OTA, CVPR 2021, algorithm 1.
    """
    if not image.gts or not image.priors:
        return image.answer({}, set())
    cost = np.full((len(image.gts) + 1, len(image.priors)), np.inf)  # the background last
    supply: list[float] = []
    for i, g in enumerate(image.gts):
        candidates = [
            n
            for n in image.priors
            if image.inside_box(n, g) and image.near_center(n, g, center_radius)
        ] or [image.nearest(g)]
        for j, n in enumerate(image.priors):
            if n in candidates:
                p = float(image.score(n, g))
                classes = _background(image, n) - _focal(p, 0) + _focal(p, 1)
                cost[i, j] = classes - reg_weight * math.log(image.predicted_iou[n, g] + 1e-7)
        best = sorted(image.predicted_iou[image.priors, g], reverse=True)[:candidate_topk]
        supply.append(min(max(int(sum(best)), 1), len(candidates)))
    cost[-1] = [_background(image, n) for n in image.priors]
    supply.append(max(len(image.priors) - sum(supply), 1e-8))
    plan = sinkhorn(cost, np.array(supply, dtype=float), gamma, num_iters)
    share = plan / plan.max(axis=1, keepdims=True) if rescale else plan
    owner = {}
    for j, n in enumerate(image.priors):
        rivals = list(range(len(image.gts)))
        for values in (share, plan):  # the largest share, then what is really given
            most = max(values[i, j] for i in rivals)
            rivals = [i for i in rivals if values[i, j] >= most * SAME]
        winner = min(rivals, key=lambda i: (F(cost[i, j]), i))
        if share[winner, j] > share[-1, j]:
            owner[n] = image.gts[winner]
    return image.answer(owner, set())


def sinkhorn(cost: np.ndarray, supply: np.ndarray, gamma: float, iterations: int) -> np.ndarray:
    """Scale the columns of ``exp(-cost / gamma)`` to 1 and its rows to the supplies, in turn."""
    kernel = -cost / gamma
    u, v = np.zeros(len(supply)), np.zeros(cost.shape[1])
    for _ in range(iterations):
        v = -np.logaddexp.reduce(kernel + u[:, None], axis=0)
        u = np.log(supply) - np.logaddexp.reduce(kernel + v[None], axis=1)
    return np.exp(kernel + u[:, None] + v[None])


def _background(image: Image, n: int) -> float:
    return sum(_focal(float(p), 0) for p in image.scores[n])


def _focal(p: float, target: int) -> float:
    """Focal loss, alpha 0.25 and gamma 2."""
    if target:
        return 0.25 * (1 - p) ** 2 * -math.log(p + 1e-12)
    return 0.75 * p**2 * -math.log(1 - p + 1e-12)
