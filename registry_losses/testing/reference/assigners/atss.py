"""ATSSAssigner and BatchATSSAssigner in plain loops."""

import numpy as np

from .image import Answer, F, Image, distances, lowest, strongest


def atss(image: Image, topk: int = 9, alpha: float | None = None) -> Answer:
    """On each level the priors nearest to a gt, where the IoU exceeds mean + deviation.

    Zhang et al., arXiv:1912.02424, algorithm 1; with ``alpha`` DDOD's measure, Chen et al.,
    arXiv:2107.02963.
    """
    claims = []
    for g in image.gts:
        candidates = candidates_of(image, g, topk)
        values = [_measure(image, n, g, alpha) for n in candidates]
        threshold = _mean_plus_std(values)
        for n, value in zip(candidates, values):
            if value >= threshold and image.inside_box(n, g, margin=0.01):
                claims.append((value, g, n))
    return image.answer(strongest(claims), set())


def batch_atss(image: Image, topk: int = 9) -> Answer:
    """The same, where a prior claimed twice goes to the best gt of all, claimant or not."""
    claimants: dict[int, list[int]] = {}
    for g in image.gts:
        candidates = candidates_of(image, g, topk)
        values = [image.iou[n, g] for n in candidates]
        threshold = _mean_plus_std(values)
        for n, value in zip(candidates, values):
            if value >= threshold and image.inside_box(n, g, margin=1e-9):
                claimants.setdefault(n, []).append(g)
    owner = {}
    for n, gts in claimants.items():
        owner[n] = gts[0] if len(gts) == 1 else image.best_gt(n)[1]
    return image.answer(owner, set())


def candidates_of(image: Image, gt: int, topk: int) -> list[int]:
    """The ``topk`` priors of each level whose centres are nearest to the gt's."""
    found = []
    for number in sorted(set(image.level)):
        level = [n for n in range(image.num_priors) if image.level[n] == number]
        distance = distances(image.centers[level], image.points[gt])
        distance[[n not in image.priors for n in level]] = np.inf
        several_a_cell = bool(image.levels) and image.levels[number].num_base > 1
        order = lowest(distance, topk, first_of_equals=several_a_cell)
        found += [level[i] for i in order]
    return found


def _measure(image: Image, n: int, g: int, alpha: float | None) -> float:
    if alpha is None:
        return image.iou[n, g]
    return image.score(n, g) ** F(1 - alpha) * image.predicted_iou[n, g] ** F(alpha)


def _mean_plus_std(values: list[float]) -> float:
    """The deviation with n - 1 below, 0 for a single value."""
    mean = np.mean(values, dtype=np.float64) if values else 0.0
    return mean + (np.std(values, ddof=1, dtype=np.float64) if len(values) > 1 else 0.0)
