"""CenterNetAssigner and what heatmap targets share, in plain loops."""

import math
from dataclasses import dataclass

from ....structures import Level
from .fcos import level_ranges
from .image import Answer, F, Image


def centernet(image: Image, min_overlap: float = 0.3, level_rule: str = 'scale') -> Answer:
    """The centre's cell is positive; a Gaussian of the box's size around it is soft.

    Zhou et al., Objects as Points, arXiv:1904.07850, section 3.
    """
    targets = []
    for g in image.gts:
        w, h = (float(v) for v in image.gt_boxes[g, 2:] - image.gt_boxes[g, :2])
        for number, level in enumerate(image.levels):
            if level_rule == 'scale' and number != level_of(image, w, h):
                continue
            radius = int(gaussian_radius(h / level.stride[1], w / level.stride[0], min_overlap))
            cell = image.cell_of(level, image.points[g])
            targets.append(Target(g, number, cell, cell, radius, (2 * radius + 1) / 6, True))
    return draw(image, targets)


def level_of(image: Image, w: float, h: float) -> int:
    """The level whose range, as in FCOS, holds half of the longer side."""
    return sum(max(w, h) / 2 > end for _, end in level_ranges(image)[:-1])


def gaussian_radius(height: float, width: float, min_overlap: float) -> float:
    """The largest shift of the corners, in cells, that keeps ``min_overlap`` with the box.

    Law & Deng, CornerNet, ECCV 2018, section 3.2: both corners move one way; both move
    inwards; both move outwards.
    """
    half, area, o = F(height) + F(width), F(height) * F(width), F(min_overlap)
    free = area * (1 - o)
    one_way = (half - math.sqrt(max(half**2 - 4 * free / (1 + o), 0))) / 2
    inwards = (2 * half - math.sqrt(max(4 * half**2 - 16 * free, 0))) / 8
    outwards = (math.sqrt(4 * o**2 * half**2 + 16 * o * free) - 2 * o * half) / (8 * o)
    return max(min(one_way, inwards, outwards), 0)


@dataclass
class Target:
    """One gt's Gaussian on one level.

    Args:
        gt: The gt.
        number: The level.
        cell: (x, y) of its positive cell.
        mean: (x, y) where the Gaussian peaks, in cells.
        radius: Cells to each side of ``cell`` that it covers.
        sigma: Its width in cells.
        positive: Whether the cell is positive.
    """

    gt: int
    number: int
    cell: tuple[int, int]
    mean: tuple[float, float]
    radius: int
    sigma: float
    positive: bool


def draw(image: Image, targets: list[Target]) -> Answer:
    """Cells of the targets, each with the largest value that it gets for a class."""
    answer = Answer([], image.everything_else())
    for target in targets:
        level: Level = image.levels[target.number]
        (cx, cy), (mx, my), r = target.cell, target.mean, target.radius
        for y in range(max(cy - r, 0), min(cy + r, level.height - 1) + 1):
            for x in range(max(cx - r, 0), min(cx + r, level.width - 1) + 1):
                value = math.exp(-((x - mx) ** 2 + (y - my) ** 2) / (2 * target.sigma**2))
                for n in image.priors_in_cell(target.number, x, y):
                    if n not in image.priors:
                        continue
                    if target.positive and (x, y) == (cx, cy):
                        answer.quality[n, target.gt] = value
                    else:
                        key = (n, image.labels[target.gt])
                        answer.soft[key] = max(answer.soft.get(key, 0.0), value)
    answer.pairs = sorted(answer.quality)
    return answer
