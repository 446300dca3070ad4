"""UniformAssigner in plain loops."""

import numpy as np

from .image import Answer, F, Image, lowest


def uniform(
    image: Image, pos_ignore_thr: float, neg_ignore_thr: float, match_times: int = 4
) -> Answer:
    """The k predictions and the k priors nearest to each gt.

    Chen et al., YOLOF, arXiv:2103.09460, section 4.2.
    """
    by_prediction = {g: _nearest(image, image.predicted_boxes, g, match_times) for g in image.gts}
    by_prior = {g: _nearest(image, image.boxes, g, match_times) for g in image.gts}
    last: dict[int, int] = {}  # the gt whose claim comes last
    for rank in range(match_times):
        for ranked in (by_prediction, by_prior):
            for g in image.gts:
                if rank < len(ranked[g]):
                    last[ranked[g][rank]] = g
    ignored = {
        n
        for n in range(image.num_priors)
        if any(image.predicted_iou[n, g] > F(neg_ignore_thr) for g in image.gts)
    }
    owner = {n: g for n, g in last.items() if image.iou[n, g] >= F(pos_ignore_thr)}
    return image.answer(owner, ignored | set(last))


def _nearest(image: Image, boxes: np.ndarray, gt: int, k: int) -> list[int]:
    """The k boxes of the least L1 distance in (cx, cy, w, h)."""
    own, target = _centers_and_sizes(boxes), _centers_and_sizes(image.gt_boxes[gt : gt + 1])
    distance = np.zeros(len(boxes), dtype=F)
    for i in range(4):
        distance += np.abs(own[:, i] - target[:, i])
    distance[sorted(image.everything_else())] = np.inf
    return lowest(distance, k, first_of_equals=False)


def _centers_and_sizes(boxes: np.ndarray) -> np.ndarray:
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate(((low + high) / 2, high - low), axis=1)
