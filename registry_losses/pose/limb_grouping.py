"""OpenPose's grouping: joints are joined where the field between them points their way.

Cao et al., Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields, CVPR 2017,
sections 2.3 (the integral, equation 10) and 2.4 (the assignment, limb by limb).

Shapes: Q peaks of an image, V joints, L limbs, H x W cells, T pairs, S samples of a pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from .limb_assembly import Group, join, share
from .persons import Persons


@dataclass(frozen=True)
class LimbGrouping:
    """Settings of :func:`group_by_limbs`.

    Args:
        samples: S, the points of the line integral.
        sample_thr: A sample agrees where the field along the limb is above it.
        agreeing: Least share of samples that agree.
        score_thr: Least mean of the field along the limb.
        max_length: Longest limb, as a share of the longer side of the map; limbs longer
            than half of it lose score, as in the published code.
        share_thr: A pair above it that lost the assignment still gives a person a joint
            that it lacks, so that two persons may share a peak; 1 for never.
        min_joints: Persons of fewer joints are dropped.
        min_score: Persons of a lower score are dropped.
        max_persons: Persons of an image.
    """

    samples: int = 10
    sample_thr: float = 0.05
    agreeing: float = 0.8
    score_thr: float = 0.05
    max_length: float = 1.0
    share_thr: float = 0.2
    min_joints: int = 1
    min_score: float = 0.0
    max_persons: int = 100


def group_by_limbs(
    joint: np.ndarray,
    position: np.ndarray,
    score: np.ndarray,
    fields: np.ndarray,
    limbs: Sequence[tuple[int, int]],
    num_joints: int,
    settings: LimbGrouping | None = None,
) -> Persons:
    """Persons out of the peaks of one image, in cells.

    1. For each limb every pair of candidates is scored by the mean of the field along the
       line between them; a pair counts where most samples agree.
    2. The optimal assignment (Hungarian method) chooses the pairs of each limb.
    3. Chosen pairs are joined from the most certain down. Two groups become one unless
       both have a joint of the same kind: a pair that would give a person two heads is
       dropped, not the better one before it. So limbs that close a circle, as those from
       the shoulders to the ears, help and never harm.
    4. Pairs that lost the assignment give groups joints that they lack, see
       :func:`.limb_assembly.share`.

    Args:
        joint: ``(Q,)`` int, which joint a peak is of, ascending.
        position: ``(Q, 2)`` float32 x, y in cells.
        score: ``(Q,)`` float32.
        fields: ``(2 L, H, W)`` float32.
        limbs: L pairs of joints.
        num_joints: V.
        settings: Thresholds.
    """
    settings = settings or LimbGrouping()
    starts = np.searchsorted(joint, np.arange(num_joints + 1))
    limb, a, b = _all_pairs(starts, limbs)
    mean, kept = _integrals(position, fields, limb, a, b, settings)
    limb, a, b, mean = limb[kept], a[kept], b[kept], mean[kept]
    chosen = _assign(limb, a, b, mean, starts, limbs)
    order = chosen[np.argsort(-mean[chosen], kind='stable')]
    groups = join(joint, a[order], b[order], mean[order])
    if settings.share_thr < 1:
        rest = (mean > settings.share_thr).nonzero()[0]
        rest = rest[np.argsort(-mean[rest], kind='stable')]
        groups = share(groups, joint, a[rest], b[rest], mean[rest])
    return _as_persons(groups, joint, position, score, num_joints, len(limbs), settings)


def _all_pairs(
    starts: np.ndarray, limbs: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Limb, first and second peak of every pair that a limb may join, each ``(T,)``."""
    parts = []
    for number, (i, j) in enumerate(limbs):
        first = np.arange(starts[i], starts[i + 1])
        second = np.arange(starts[j], starts[j + 1])
        a = np.repeat(first, len(second))
        b = np.tile(second, len(first))
        parts.append((np.full(len(a), number), a, b))
    if not parts:
        return (np.zeros(0, np.int64),) * 3
    limb, a, b = (np.concatenate(column) for column in zip(*parts))
    return limb, a, b


def _integrals(
    position: np.ndarray,
    fields: np.ndarray,
    limb: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    settings: LimbGrouping,
) -> tuple[np.ndarray, np.ndarray]:
    """``(T,)`` mean of the field along each pair, and whether the pair counts."""
    height, width = fields.shape[-2:]
    longest = settings.max_length * max(height, width)
    # Between two places on the map everything is on the map.
    edge = np.array([width - 1, height - 1], np.float32)
    xs, ys = np.clip(position, 0, edge).astype(np.float32).T.copy()
    xa, ya = xs[a], ys[a]
    dx, dy = xs[b] - xa, ys[b] - ya
    length = np.sqrt(dx * dx + dy * dy)
    kept = (length > 1e-6) & (length <= longest)
    flat = np.ascontiguousarray(fields, np.float32).reshape(-1)
    plane = height * width
    steps = np.linspace(0, 1, settings.samples, dtype=np.float32)
    needed = int(np.ceil(settings.agreeing * settings.samples - 1e-6))

    def along(pairs: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The field along the pairs at some of the samples, ``(s, t)``."""
        step_x, step_y = dx[pairs], dy[pairs]
        x = np.rint(xa[pairs] + at[:, None] * step_x).astype(np.int32)
        y = np.rint(ya[pairs] + at[:, None] * step_y).astype(np.int32)
        place = y * np.int32(width) + x
        place += (2 * plane * limb[pairs]).astype(np.int32)
        value = flat.take(place) * step_x + flat.take(place + np.int32(plane)) * step_y
        return value / length[pairs]

    mean = np.zeros(len(limb), np.float32)
    rows = kept.nonzero()[0]
    # So many samples may disagree; where one more does, the others need not be read.
    spread = np.linspace(0, settings.samples - 1, settings.samples - needed + 3)[1:-1]
    few = steps[np.unique(spread.astype(int))]
    if len(rows) and len(few) == settings.samples - needed + 1:
        rows = rows[(along(rows, few) > settings.sample_thr).any(axis=0)]
    kept[:] = False
    if len(rows):
        values = along(rows, steps)
        mean[rows] = values.mean(axis=0)
        # Without this a person as wide as the image would win by chance.
        mean[rows] += np.minimum(0.5 * longest / np.maximum(length[rows], 1e-6) - 1, 0)
        agree = (values > settings.sample_thr).sum(axis=0) >= needed
        kept[rows] = agree & (mean[rows] > settings.score_thr)
    return mean, kept


def _assign(
    limb: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    mean: np.ndarray,
    starts: np.ndarray,
    limbs: Sequence[tuple[int, int]],
) -> np.ndarray:
    """Index of the pairs that the optimal assignment of each limb chooses."""
    # Where no candidate of a limb has a choice, every pair that counts is taken.
    disputed = mean <= 0
    for end in (a, b):
        key = limb * (int(starts[-1]) + 1) + end
        disputed |= np.bincount(key)[key] > 1 if len(key) else False
    contested = np.bincount(limb[disputed], minlength=len(limbs)) > 0
    chosen = [(~contested[limb]).nonzero()[0]]
    ends = np.searchsorted(limb, np.arange(len(limbs) + 1))
    for number in contested.nonzero()[0].tolist():
        i, j = limbs[number]
        rows = slice(ends[number], ends[number + 1])
        shape = (starts[i + 1] - starts[i], starts[j + 1] - starts[j])
        gain, index = np.zeros(shape, np.float32), np.full(shape, -1)
        place = (a[rows] - starts[i], b[rows] - starts[j])
        gain[place] = mean[rows]
        index[place] = np.arange(rows.start, rows.stop)
        # A pair that does not count gains nothing, so it never displaces one that does.
        taken = index[linear_sum_assignment(gain, maximize=True)]
        chosen.append(taken[taken >= 0])
    return np.concatenate(chosen)


def _as_persons(
    groups: list[Group],
    joint: np.ndarray,
    position: np.ndarray,
    score: np.ndarray,
    num_joints: int,
    num_limbs: int,
    settings: LimbGrouping,
) -> Persons:
    groups = [group for group in groups if len(group.peaks) >= settings.min_joints]
    n = len(groups)
    keypoints = np.zeros((n, num_joints, 2), np.float32)
    scores = np.zeros((n, num_joints), np.float32)
    sizes = np.array([len(group.peaks) for group in groups], np.int64)
    peak = np.array([i for group in groups for i in group.peaks], np.int64)
    row = np.repeat(np.arange(n), sizes)
    keypoints[row, joint[peak]] = position[peak]
    scores[row, joint[peak]] = score[peak]
    borrowed = np.array([score[group.borrowed].sum() for group in groups], np.float32).reshape(n)
    # The evidence there is, over all there could be; a borrowed peak is another's evidence.
    limb_sum = np.array([group.strength for group in groups], np.float32).reshape(n)
    total = (scores.sum(axis=1) - borrowed + limb_sum) / (num_joints + num_limbs)
    total = np.minimum(total, 1)  # a field may be a little longer than its unit
    kept = total >= settings.min_score
    return Persons.ordered(keypoints[kept], scores[kept], total[kept], settings.max_persons)
