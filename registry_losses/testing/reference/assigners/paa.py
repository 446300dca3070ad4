"""PAAAssigner in plain loops: its second step, given the losses of the candidates."""

import numpy as np


def paa(
    pairs: list[tuple[int, int]], losses: list[float], level: list[int], topk: int = 9
) -> list[tuple[int, int]]:
    """Of each gt's candidates those whose loss belongs to the better of two groups.

    Kim & Lee, ECCV 2020, algorithm 1. The first step, which proposes the
    candidates, is ``max_iou(image, 0.1, 0.1)``.

    Args:
        pairs: The candidates of one image.
        losses: Classification plus box loss of each.
        level: The level of each candidate's prior.
        topk: Candidates that a gt keeps on each level.
    """
    kept = []
    for gt in sorted({g for _, g in pairs}):
        few = []
        for one in sorted({level[i] for i, (_, g) in enumerate(pairs) if g == gt}):
            own = [i for i, (_, g) in enumerate(pairs) if g == gt and level[i] == one]
            few += sorted(own, key=lambda i: losses[i])[:topk]
        few.sort(key=lambda i: losses[i])
        if len(few) < 2:
            kept += few
            continue
        values = np.array([losses[i] for i in few], dtype=float)
        joint = two_gaussians(values)
        lower = [i for i in range(len(few)) if joint[i, 0] >= joint[i, 1]]
        if lower:
            density = np.logaddexp(joint[:, 0], joint[:, 1])
            last = max(lower, key=lambda i: density[i])
            kept += [few[i] for i in lower if i <= last]
    return sorted(pairs[i] for i in kept)


def two_gaussians(values: np.ndarray) -> np.ndarray:
    """Fit two Gaussians to ascending values by expectation maximisation.

    Starts from the least and the largest value, equal weights and variance 1.

    Returns:
        ``(P, 2)`` log of weight times density.
    """
    weight, mean, variance = np.full(2, 0.5), values[[0, -1]], np.ones(2)
    before = -np.inf
    for _ in range(100):
        joint = _log_joint(values, weight, mean, variance)
        total = np.logaddexp(joint[:, 0], joint[:, 1])
        share = np.exp(joint - total[:, None])
        mass = share.sum(axis=0) + 10 * np.finfo(float).eps
        mean = (share * values[:, None]).sum(axis=0) / mass
        square = (share * values[:, None] ** 2).sum(axis=0) / mass
        variance = np.maximum(square - mean**2, 0) + 1e-6
        weight = mass / mass.sum()
        if abs(total.mean() - before) < 1e-3:
            break
        before = total.mean()
    return _log_joint(values, weight, mean, variance)


def _log_joint(
    values: np.ndarray, weight: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    # (v - m)^2 multiplied out, as scikit-learn does: which of two values on either side of
    # their mean counts as denser is a matter of rounding.
    x, root = values[:, None], 1 / np.sqrt(variance)
    precision = root**2
    square = mean**2 * precision - 2 * x * (mean * precision) + x**2 * precision
    return np.log(weight) - 0.5 * (np.log(2 * np.pi) + square) + np.log(root)
