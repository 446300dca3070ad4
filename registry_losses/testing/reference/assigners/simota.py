"""SimOTAAssigner in plain loops, and the dynamic-k matching that DynamicSoftLabel shares."""

import math

from .image import Answer, F, Image

# The costs of one image: by (prior, gt).
Costs = dict[tuple[int, int], float]


def simota(
    image: Image,
    center_radius: float = 2.5,
    candidate_topk: int = 10,
    iou_weight: float = 3.0,
    cls_weight: float = 1.0,
    min_positives: int = 0,
    min_gt_size: float = 0.0,
) -> Answer:
    """Each gt takes its k cheapest priors, k from its current IoUs.

    Ge et al., YOLOX, arXiv:2107.08430, section 2.1.
    """

    def inside(n: int, g: int) -> bool:
        return image.inside_box(n, g, side=min_gt_size)

    taking_part = [
        n
        for n in image.priors
        if any(inside(n, g) or image.near_center(n, g, center_radius) for g in image.gts)
    ]
    costs: Costs = {}
    for n in taking_part:
        all_negative = sum(_bce(p, 0) for p in image.scores[n])
        for g in image.gts:
            p = image.score(n, g)
            classes = all_negative - _bce(p, 0) + _bce(p, 1)
            box = -math.log(image.predicted_iou[n, g] + F(1e-7))
            near = inside(n, g) and image.near_center(n, g, center_radius)
            cost = cls_weight * classes + iou_weight * box + (0 if near else 1e5)
            costs[n, g] = F(cost)
    return dynamic_k(image, taking_part, costs, candidate_topk, min_positives=min_positives)


def dynamic_k(
    image: Image,
    taking_part: list[int],
    costs: Costs,
    topk: int,
    summed: list[int] | None = None,
    min_positives: int = 0,
) -> Answer:
    """Each gt takes its k cheapest priors; one taken twice goes where it is cheapest.

    k is the sum of the gt's best IoUs among the priors ``summed``, by default those that
    take part.
    """
    takers: dict[int, list[int]] = {}
    for g in image.gts:
        ious = sorted((image.predicted_iou[n, g] for n in summed or taking_part), reverse=True)
        total = F(0)
        for iou in ious[:topk]:
            total += iou
        k = max(int(total), 1, min_positives)
        for n in sorted(taking_part, key=lambda n: (costs[n, g], n))[:k]:
            takers.setdefault(n, []).append(g)
    owner = {}
    for n, gts in takers.items():
        owner[n] = gts[0] if len(gts) == 1 else min(image.gts, key=lambda g: (costs[n, g], g))
    image.fill_up(owner, min_positives)
    answer = image.answer(owner, set())
    answer.quality = {(n, g): float(image.predicted_iou[n, g]) for n, g in answer.pairs}
    return answer


def _bce(p: float, target: int) -> float:
    """Binary cross entropy, its logarithm at least -100."""
    if target:
        return -max(math.log(p), -100.0) if p > 0 else 100.0
    return -max(math.log1p(-p), -100.0) if p < 1 else 100.0
