"""HungarianAssigner in plain terms: every matching is tried."""

from itertools import permutations

import numpy as np

from .image import Answer, Image


def hungarian(image: Image, cost: np.ndarray) -> Answer:
    """One prior per gt, such that the sum of the costs is least.

    Carion et al., DETR, ECCV 2020, section 3.1. Tries all matchings: for a handful of
    priors. Of equal sums the first in lexical order comes.

    Args:
        image: The image.
        cost: ``(N, M)``, the sum of the match costs of every pair.
    """
    gts, priors = image.gts, image.priors
    if len(gts) <= len(priors):
        matchings = (list(zip(chosen, gts)) for chosen in permutations(priors, len(gts)))
    else:
        matchings = (list(zip(priors, chosen)) for chosen in permutations(gts, len(priors)))
    best = min(matchings, key=lambda pairs: sum(float(cost[n, g]) for n, g in pairs))
    return image.answer(dict(best), set())
