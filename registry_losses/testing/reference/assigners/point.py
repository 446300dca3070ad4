"""PointAssigner in plain loops."""

import math

import numpy as np

from .image import Answer, F, Image, distances, lowest, strongest


def point(image: Image, scale: float = 4, pos_num: int = 3) -> Answer:
    """The nearest points on the level that the gt's size asks for.

    Yang et al., RepPoints, arXiv:1904.11490.
    """
    level = [math.trunc(math.log2(stride)) for stride in image.strides[:, 0]]
    claims = []
    for g in image.gts:
        size = np.maximum(image.gt_boxes[g, 2:] - image.gt_boxes[g, :2], F(1e-6))
        own = math.trunc(float(np.log2(size / F(scale)).sum(dtype=F)) / 2)
        own = min(max(own, min(level)), max(level))
        points = [n for n in range(image.num_priors) if level[n] == own]
        distance = distances(image.centers[points], image.points[g], size)
        distance[[n not in image.priors for n in points]] = np.inf
        several_a_cell = any(grid.num_base > 1 for grid in image.levels)
        for i in lowest(distance, pos_num, first_of_equals=several_a_cell):
            claims.append((-distance[i], g, points[i]))
    return image.answer(strongest(claims), set())
