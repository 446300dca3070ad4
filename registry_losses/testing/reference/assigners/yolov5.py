"""YOLOV5Assigner in plain loops."""

import numpy as np

from .image import Answer, Image


def yolov5(image: Image, prior_match_thr: float = 4.0, near_neighbor_thr: float = 0.5) -> Answer:
    """Each anchor of a similar shape, in the centre's cell and its nearest neighbours.

    The released code of YOLOv5; there is no paper. A prior may have several gts.
    """
    pairs = []
    for g in image.gts:
        w, h = (float(v) for v in image.gt_boxes[g, 2:] - image.gt_boxes[g, :2])
        for number, level in enumerate(image.levels):
            u, v = (float(p) / s for p, s in zip(image.points[g], level.stride))
            x, y = image.cell_of(level, image.points[g])
            cells = [(x, y)]
            cells += [(x + d, y) for d in _neighbours(u, level.width, near_neighbor_thr)]
            cells += [(x, y + d) for d in _neighbours(v, level.height, near_neighbor_thr)]
            for a, (anchor_w, anchor_h) in enumerate(level.base_sizes):
                if not w or not h:
                    continue
                ratio = max(w / anchor_w, anchor_w / w, h / anchor_h, anchor_h / h)
                if ratio < prior_match_thr:
                    for cell in cells:
                        pairs.append((image.priors_in_cell(number, *cell)[a], g))
    allowed = set(image.priors)
    return Answer(sorted(p for p in pairs if p[0] in allowed), image.everything_else())


def _neighbours(at: float, count: int, thr: float) -> list[int]:
    """Steps to the neighbours along one axis that are nearer than ``thr`` cells.

    0, the cell itself once more, where the centre lies exactly between two cells: the
    released code finds the right neighbour by truncation.
    """
    if not 0 <= at < count:
        return []
    steps, share = [], at - np.floor(at)
    if share < thr and at > 1:
        steps.append(-1)
    if (count - at) % 1 < thr and count - at > 1:
        steps.append(1 if share > 0 else 0)
    return steps
