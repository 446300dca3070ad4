"""TopkHungarianAssigner in plain terms: every matching is tried."""

from itertools import permutations

import numpy as np

from .image import Answer, Image


def topk_hungarian(image: Image, cost: np.ndarray, topk: int) -> Answer:
    """K priors for each gt, such that the sum of the costs is least.

    Zhang et al., DDQ, CVPR 2023. For a handful of priors.

    Args:
        image: The image, with no more gts than priors.
        cost: ``(N, M)``, the sum of the match costs of every pair.
        topk: Most priors of a gt.
    """
    if not image.gts or not image.priors:
        return image.answer({}, set())
    k = max(min(topk, len(image.priors) // len(image.gts)), 1)
    places = [g for g in image.gts for _ in range(k)]
    matchings = (list(zip(chosen, places)) for chosen in permutations(image.priors, len(places)))
    best = min(matchings, key=lambda pairs: sum(float(cost[n, g]) for n, g in pairs))
    answer = image.answer(dict(best), set())
    t = {(n, g): image.score(n, g) * image.predicted_iou[n, g] ** 6 for n, g in answer.pairs}
    for n, g in answer.pairs:  # scaled so that a gt's largest is its largest IoU
        own = [pair for pair in answer.pairs if pair[1] == g]
        most = max(t[pair] for pair in own) + 1e-7
        answer.quality[n, g] = t[n, g] * max(image.predicted_iou[pair] for pair in own) / most
    return answer
