"""GaussianAssigner in plain loops."""

import math

from .centernet import Target, draw, level_of
from .image import Answer, F, Image


def gaussian(
    image: Image, sigma: float = 2.0, unbiased: bool = False, level_rule: str = 'all'
) -> Answer:
    """The prior nearest to a point is positive; a Gaussian of fixed width around it is soft.

    Tompson et al., NeurIPS 2014; Newell et al., NeurIPS 2017; unbiased: Huang
    et al., CVPR 2020.
    """
    targets = []
    for g in image.gts:
        point = image.points[g]
        w, h = (float(v) for v in image.gt_boxes[g, 2:] - image.gt_boxes[g, :2])
        height, width = image.size
        inside = 0 <= point[0] <= width and 0 <= point[1] <= height
        for number, level in enumerate(image.levels):
            if level_rule == 'scale' and number != level_of(image, w, h):
                continue
            exact = [p / F(s) - F(level.offset) for p, s in zip(point, level.stride)]
            nearest = [math.floor(e + F(0.5)) for e in exact]
            counts = (level.width, level.height)
            on_grid = [min(max(c, 0), n - 1) for c, n in zip(nearest, counts)]
            cell = on_grid if inside else nearest  # a point of the image always has its cell
            mean = exact if unbiased else cell
            positive = inside or on_grid == nearest
            radius = int(3 * sigma)
            targets.append(Target(g, number, tuple(cell), tuple(mean), radius, sigma, positive))
    return draw(image, targets)
