"""CenterRegionAssigner in plain loops."""

import numpy as np

from .image import Answer, F, Image


def center_region(
    image: Image,
    pos_scale: float,
    neg_scale: float,
    min_pos_iof: float = 0.01,
    foreground_dominate: bool = False,
) -> Answer:
    """Priors in the core of a gt are positive, those in the region around it left out.

    Zhu et al., FSAF, CVPR 2019, the effective and the ignoring boxes.
    """
    owner: dict[int, int] = {}
    ignored: set[int] = set()
    for n in image.priors:
        core = [
            g
            for g in image.gts
            if image.inside_box(n, g) and _share(image, n, g, pos_scale) > F(min_pos_iof)
        ]
        if core:  # the smallest, of equally small ones the last
            owner[n] = min(core, key=lambda g: (_area(image.gt_boxes[g]), -g))
        outer = [
            g
            for g in image.gts
            if (g in core and g != owner[n])
            or (g not in core and _share(image, n, g, neg_scale) > F(min_pos_iof))
        ]
        if outer:
            ignored.add(n)
        same_class = [g for g in outer if n in owner and image.labels[g] == image.labels[owner[n]]]
        if same_class and not foreground_dominate:
            del owner[n]
    return image.answer(owner, ignored)


def _share(image: Image, n: int, g: int, scale: float) -> float:
    """How much of a prior's box lies in the gt's box scaled around its centre."""
    low, high = image.gt_boxes[g, :2], image.gt_boxes[g, 2:]
    center, half = (low + high) / F(2), (high - low) * F(scale) / F(2)
    box = image.boxes[n]
    common = np.minimum(box[2:], center + half) - np.maximum(box[:2], center - half)
    return np.maximum(common, F(0)).prod() / max(_area(box), F(1e-6))


def _area(box: np.ndarray) -> float:
    return np.maximum(box[2:] - box[:2], F(0)).prod()
