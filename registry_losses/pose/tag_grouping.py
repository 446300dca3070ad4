"""Associative embedding's grouping: joints of like tags are one person.

Newell et al., Associative Embedding, NeurIPS 2017.

Shapes: Q peaks of an image, V joints, D tag dimensions, H x W cells, n persons.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from .persons import Persons


@dataclass(frozen=True)
class TagGrouping:
    """Settings of :func:`group_by_tags`.

    Args:
        tag_thr: A joint joins a person whose mean tag is nearer than this.
        rounded: Compare distances rounded to whole numbers, so that among persons of
            about the same distance the more certain joint wins (the published code).
        order: Joints in the order in which they are grouped; the trunk is most certain.
            None: 0 to V - 1.
        fill_missing: Look for joints that a person lacks where the map is high and the
            tag is like.
        fill_thr: Least heatmap value, less the tag's distance, of such a joint.
        min_joints: Persons of fewer joints, before filling, are dropped.
        min_score: Persons of a lower score are dropped.
        max_persons: Persons of an image.
    """

    tag_thr: float = 1.0
    rounded: bool = True
    order: Sequence[int] | None = None
    fill_missing: bool = True
    fill_thr: float = 0.0
    min_joints: int = 1
    min_score: float = 0.0
    max_persons: int = 30


COCO_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
"""COCO's joints from the head over shoulders and hips to the limbs' ends."""


def group_by_tags(
    joint: np.ndarray,
    position: np.ndarray,
    score: np.ndarray,
    tags: np.ndarray,
    num_joints: int,
    settings: TagGrouping | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Persons out of the peaks of one image.

    Joint by joint, the optimal assignment gives each candidate to the person whose mean
    tag it is like; a candidate that is like none starts a person of its own.

    Args:
        joint: ``(Q,)`` int, which joint a peak is of, ascending.
        position: ``(Q, 2)`` float32 x, y.
        score: ``(Q,)`` float32.
        tags: ``(Q, D)`` float32.
        num_joints: V.
        settings: Thresholds.

    Returns:
        ``(n, V)`` int64, the peak of each joint of each person, -1 for none; ``(n, D)``
        the mean tag of each person; and ``(n,)`` how many joints it has.
    """
    settings = settings or TagGrouping()
    starts = np.searchsorted(joint, np.arange(num_joints + 1))
    room = max(len(joint), 1)
    peaks = np.full((room, num_joints), -1)
    sums = np.zeros((room, tags.shape[1]), np.float64)
    count = np.zeros(room, np.int64)
    n = 0
    for kind in settings.order if settings.order is not None else range(num_joints):
        rows = np.arange(starts[kind], starts[kind + 1])
        if not len(rows):
            continue
        like = np.zeros(0, np.int64)
        if n:
            mean = sums[:n] / count[:n, None]
            gap = tags[rows][:, None] - mean[None]  # (q, n, D)
            distance = np.sqrt((gap * gap).sum(axis=2))
            like, person = _assign(distance, score[rows], settings)
            peaks[person, kind] = rows[like]
            sums[person] += tags[rows[like]]
            count[person] += 1
        new = np.delete(rows, like)
        peaks[n : n + len(new), kind] = new
        sums[n : n + len(new)] = tags[new]
        count[n : n + len(new)] = 1
        n += len(new)
    mean = sums[:n] / np.maximum(count[:n, None], 1)
    return peaks[:n], mean, count[:n]


def _assign(
    distance: np.ndarray, score: np.ndarray, settings: TagGrouping
) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates join which persons, for one joint."""
    cost = np.rint(distance) * 100 - score[:, None] if settings.rounded else distance
    # Pairs that will not be joined cost alike, however far: the published code lets a hopeless
    # pair decide about a good one.
    near = distance < settings.tag_thr
    row, column = linear_sum_assignment(np.where(near, cost, _HOPELESS))
    joined = near[row, column]
    return row[joined], column[joined]


_HOPELESS = 1e6


def fill_missing(
    peaks: np.ndarray,
    mean: np.ndarray,
    heatmaps: np.ndarray,
    tags: np.ndarray,
    settings: TagGrouping,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Joints that persons lack, where the map less the tag's distance is highest.

    Args:
        peaks: ``(n, V)``, -1 where a joint is missing.
        mean: ``(n, D)`` mean tags.
        heatmaps: ``(V, H, W)`` float32.
        tags: ``(V, D, H, W)`` float32.
        settings: Thresholds.

    Returns:
        Person, joint, cell ``y W + x`` and score of the joints found.
    """
    person, kind = (peaks < 0).nonzero()
    found = []
    for joint in np.unique(kind):
        rows = person[kind == joint]
        heat = heatmaps[joint].reshape(-1)
        gap = tags[joint].reshape(tags.shape[1], 1, -1) - mean[rows].T[:, :, None]
        distance = np.sqrt((gap * gap).sum(axis=0)) if len(gap) > 1 else np.abs(gap[0])
        value = heat - (np.rint(distance) if settings.rounded else distance)  # (r, H W)
        cell = value.argmax(axis=1)
        # Where the heatmap is not above 0 there is nothing to see, however like the tag.
        good = (value.max(axis=1) > settings.fill_thr) & (heat[cell] > 0)
        found.append((rows[good], np.full(good.sum(), joint), cell[good], heat[cell[good]]))
    if not found:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty, np.zeros(0, np.float32)
    return tuple(np.concatenate(column) for column in zip(*found))  # type: ignore[return-value]


def tagged_persons(
    keypoints: np.ndarray,
    keypoint_scores: np.ndarray,
    scores: np.ndarray,
    settings: TagGrouping,
) -> Persons:
    """Persons, without those below the least score."""
    kept = scores >= settings.min_score
    return Persons.ordered(
        keypoints[kept], keypoint_scores[kept], scores[kept], settings.max_persons
    )
