"""RegionAssigner in plain loops."""

import math

import numpy as np

from .image import Answer, F, Image


def region(
    image: Image, center_ratio: float = 0.2, ignore_ratio: float = 0.5, anchor_scale: float = 8
) -> Answer:
    """On the level of a gt's size its middle is positive, and what is around it ignored.

    Wang et al., Guided Anchoring, CVPR 2019, the anchor location targets.
    """
    owner: dict[int, int] = {}
    ignored: set[int] = set()
    beside: set[int] = set()
    by_stride = sorted(range(len(image.levels)), key=lambda i: image.levels[i].stride[0])
    for g in image.gts:  # the last gt decides
        w, h = image.gt_boxes[g, 2:] - image.gt_boxes[g, :2]
        side = math.sqrt(max(float(w * h), 1e-30))
        first = anchor_scale * min(level.stride[0] for level in image.levels)
        own = math.floor(math.log2(side) - math.log2(first) + 0.5)
        own = min(max(own, 0), len(image.levels) - 1)
        for n in image.priors:
            number = by_stride.index(image.level[n])
            if number == own and _in_middle(image, n, g, ignore_ratio):
                owner.pop(n, None)
                ignored.discard(n)
                if _in_middle(image, n, g, center_ratio):
                    owner[n] = g
                else:
                    ignored.add(n)
            elif abs(number - own) == 1 and _in_middle(image, n, g, ignore_ratio):
                beside.add(n)
    owner = {n: g for n, g in owner.items() if n not in beside}
    return image.answer(owner, ignored | beside)


def _in_middle(image: Image, n: int, g: int, ratio: float) -> bool:
    """Whether a prior's centre is in the middle of a gt, rounded to whole cells."""
    level = image.levels[image.level[n]]
    stride, counts = np.array(level.stride, dtype=F), (level.width, level.height)
    near = F((1 - ratio) / 2)
    start, end = image.gt_boxes[g, :2] / stride, image.gt_boxes[g, 2:] / stride
    low = np.clip(np.round((1 - near) * start + near * end), 0, counts)
    high = np.clip(np.round(near * start + (1 - near) * end), 0, counts)
    center = image.centers[n] / stride
    return bool(np.all((center >= low) & (center <= high)))
