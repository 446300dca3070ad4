"""The two panels of a pose sample on a sheet: persons as annotated, persons as found.

Shapes: k persons found, n annotated, V joints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..structures.skeleton import SKELETONS
from .draw import Colour
from .skeletons import draw_skeletons

# Of a person's box about so much is the person, COCO's measure of its size.
_AREA_OF_BOX = 0.5


def similarities(persons: Mapping[str, np.ndarray], gt_boxes: np.ndarray) -> np.ndarray:
    """``(k, n)`` object keypoint similarity, over the labelled joints of each annotation.

    Its size is half of its box, since samples do not hold COCO's area.

    Args:
        persons: As :func:`~registry_losses.evaluation.samples.persons_of` gives them.
        gt_boxes: ``(n, 4)`` xyxy.
    """
    found, annotated = persons['pred_keypoints'], persons['gt_keypoints']
    labelled = persons['gt_seen'] > 0
    if not len(found) or not len(annotated):
        return np.zeros((len(found), len(annotated)))
    v = annotated.shape[1]
    sigmas = next((s.sigmas for s in SKELETONS.values() if s.num_joints == v), (0.08,) * v)
    area = _AREA_OF_BOX * (gt_boxes[:, 2:] - gt_boxes[:, :2]).prod(1).clip(min=1)
    square = ((found[:, None] - annotated[None]) ** 2).sum(-1)  # (k, n, V)
    each = np.exp(-square / (8 * area[:, None] * np.square(sigmas)))
    each = each * (persons['pred_seen'] > 0)[:, None] * labelled
    return each.sum(-1) / labelled.sum(-1).clip(min=1)


def match_persons(
    overlaps: np.ndarray, scores: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which persons are right, which annotations are found: bool ``(k,)`` and ``(n,)``.

    By falling score, each takes the free annotation that it is most similar to.
    """
    right, taken = np.zeros(overlaps.shape[0], bool), np.zeros(overlaps.shape[1], bool)
    for i in np.argsort(-scores, kind='stable') if overlaps.shape[1] else ():
        free = np.where(taken, 0, overlaps[i])
        best = int(free.argmax())
        if free[best] >= threshold:
            right[i] = taken[best] = True
    return right, taken


def draw_persons(
    image: np.ndarray,
    keypoints: np.ndarray,
    seen: np.ndarray,
    marks: Sequence[Colour],
    texts: Sequence[str] = (),
) -> np.ndarray:
    """Skeletons, each in a colour of its own, over a wider one of its mark's colour."""
    thickness = max(1, round(max(image.shape[:2]) / 200))
    under = dict(colours=list(marks) or [(0, 0, 0)], thickness=2 * thickness + 3)
    image = draw_skeletons(image, keypoints, seen, **under)
    return draw_skeletons(image, keypoints, seen, texts=texts, text_height=8, thickness=thickness)
