"""BatchDynamicSoftLabelAssigner in plain loops."""

import math

from .dynamic_soft_label import _softplus
from .image import Answer, F, Image
from .simota import Costs, dynamic_k


def batch_dynamic_soft_label(
    image: Image, soft_center_radius: float = 3.0, topk: int = 13, iou_weight: float = 3.0
) -> Answer:
    """``dynamic_soft_label`` with the cost of the gt's class alone, and k from all priors.

    Lyu et al., RTMDet, arXiv:2212.07784, section 3.3, as MMYOLO has it.
    """
    taking_part = [n for n in image.priors if any(image.inside_box(n, g) for g in image.gts)]
    costs: Costs = {}
    for n in taking_part:
        for g in image.gts:
            p, y = float(image.score(n, g)), float(image.predicted_iou[n, g])
            logit = math.log(max(p, 1e-30)) + _softplus(p)
            classes = (_softplus(p) - logit * y) * (y - p) ** 2
            box = -iou_weight * math.log(F(y) + F(1e-7))
            dx, dy = image.centers[n] - image.points[g]
            distance = math.hypot(dx, dy) / image.strides[n, 0]
            center = 10.0 ** (distance - soft_center_radius)
            costs[n, g] = F(classes) + F(box) + F(center)
    return dynamic_k(image, taking_part, costs, topk, summed=image.priors)
