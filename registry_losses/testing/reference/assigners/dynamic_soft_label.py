"""DynamicSoftLabelAssigner in plain loops."""

import math

from .image import Answer, F, Image
from .simota import Costs, dynamic_k


def dynamic_soft_label(
    image: Image,
    soft_center_radius: float = 3.0,
    topk: int = 13,
    iou_weight: float = 3.0,
    min_positives: int = 0,
    min_gt_size: float = 0.0,
) -> Answer:
    """SimOTA's matching with a class cost that knows the quality of the box.

    Lyu et al., RTMDet, arXiv:2212.07784, section 3.3, equations 1 to 4.
    """
    taking_part = [
        n for n in image.priors if any(image.inside_box(n, g, side=min_gt_size) for g in image.gts)
    ]
    costs: Costs = {}
    for n in taking_part:
        others = sum(_softplus(p) * p * p for p in map(float, image.scores[n]))
        for g in image.gts:
            p, y = float(image.score(n, g)), float(image.predicted_iou[n, g])
            # Cross entropy of the score and the IoU, weighted by how far they are apart.
            logit = math.log(max(p, 1e-30)) + _softplus(p)
            classes = max(others - _softplus(p) * p * p, 0.0)
            classes += (_softplus(p) - logit * y) * (y - p) ** 2
            box = -iou_weight * math.log(F(y) + F(1e-7))
            dx, dy = image.centers[n] - image.points[g]
            distance = math.hypot(dx, dy) / image.strides[n, 0]
            center = 10.0 ** (distance - soft_center_radius)
            costs[n, g] = F(classes) + F(box) + F(center)
    return dynamic_k(image, taking_part, costs, topk, min_positives=min_positives)


def _softplus(p: float) -> float:
    """``log(1 + exp(logit)) = -log(1 - p)``; a float32 of 1 stands for a logit of 16.6."""
    return -math.log1p(-min(p, 1 - 2.0**-24))
