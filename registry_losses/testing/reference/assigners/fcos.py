"""FCOSAssigner in plain loops."""

import math
from collections.abc import Sequence

from .image import Answer, F, Image


def fcos(
    image: Image,
    regress_ranges: Sequence[tuple[float, float]] | None = None,
    center_sampling: bool = False,
    center_sample_radius: float = 1.5,
) -> Answer:
    """A prior inside a box is positive on the level whose range holds its regression.

    Tian et al., FCOS, ICCV 2019, sections 3.1 and 3.2.
    """
    ranges = regress_ranges or level_ranges(image)
    owner: dict[int, int] = {}
    for n in image.priors:
        smallest = math.inf
        x, y = image.centers[n]
        low, high = ranges[image.level[n]]
        for g in image.gts:
            x1, y1, x2, y2 = image.gt_boxes[g]
            sides = (x - x1, y - y1, x2 - x, y2 - y)
            if min(sides) <= 0 or not low <= max(sides) <= high:
                continue
            if center_sampling and not image.near_center(n, g, center_sample_radius):
                continue
            area = (x2 - x1) * (y2 - y1)
            if area < smallest:  # of several gts the smallest, of equal ones the first
                smallest, owner[n] = area, g
    return image.answer(owner, set())


def level_ranges(image: Image) -> list[tuple[float, float]]:
    """Up to 8 strides, each level from where the last one ends; the last without end."""
    ends = [float(F(8) * max(level.stride)) for level in image.levels[:-1]] + [math.inf]
    return list(zip([-1.0, *ends], ends))
