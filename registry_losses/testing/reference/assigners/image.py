"""One image in plain arrays, and the result of a rule for it.

Shapes: N priors, M gts, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from ....structures import GroundTruth, Level, Predictions, Priors

#: Everything is worked out in single precision, as on a device, so that ties are the same.
F = np.float32


@dataclass
class Answer:
    """What an assigner finds in one image.

    Args:
        pairs: The positive (prior, gt) pairs, sorted.
        ignored: Priors that the classification loss leaves out.
        quality: Class target of each pair where it is not 1.
        soft: Class target of (prior, label) beside the positives (Gaussian targets).
    """

    pairs: list[tuple[int, int]]
    ignored: set[int] = field(default_factory=set)
    quality: dict[tuple[int, int], float] = field(default_factory=dict)
    soft: dict[tuple[int, int], float] = field(default_factory=dict)


@dataclass
class Image:
    """One image.

    Args:
        boxes: ``(N, 4)`` of the priors, xyxy pixels.
        centers: ``(N, 2)`` of the priors.
        strides: ``(N, 2)`` of the priors.
        level: ``(N,)`` the pyramid level of each prior.
        levels: The grids; empty for bare boxes.
        priors: The priors that may be matched; the others are ignored whatever happens.
        gt_boxes: ``(M, 4)``.
        points: ``(M, 2)`` position of each gt: the centre of its box, or a joint.
        labels: ``(M,)``.
        gts: The gts that count; the others are padding.
        size: Height and width of the image.
        predicted_boxes: ``(N, 4)`` what the head predicts now.
        scores: ``(N, C)`` probabilities.
    """

    boxes: np.ndarray
    centers: np.ndarray
    strides: np.ndarray
    level: list[int]
    levels: Sequence[Level]
    priors: list[int]
    gt_boxes: np.ndarray
    points: np.ndarray
    labels: list[int]
    gts: list[int]
    size: tuple[float, float]
    predicted_boxes: np.ndarray
    scores: np.ndarray

    @cached_property
    def iou(self) -> np.ndarray:
        """``(N, M)`` IoU of the priors and the gts."""
        return overlaps(self.boxes, self.gt_boxes)

    @cached_property
    def predicted_iou(self) -> np.ndarray:
        """``(N, M)`` IoU of the predicted boxes and the gts."""
        return overlaps(self.predicted_boxes, self.gt_boxes)

    def score(self, prior: int, gt: int) -> float:
        """Predicted score of the gt's class."""
        return self.scores[prior, self.labels[gt]]

    @property
    def num_priors(self) -> int:
        """N."""
        return len(self.boxes)

    def everything_else(self) -> set[int]:
        """The priors that may not be matched."""
        return set(range(self.num_priors)) - set(self.priors)

    def best_gt(self, prior: int) -> tuple[float, int]:
        """The largest IoU of a prior with any gt, and the first gt that has it."""
        best, owner = F(-1), -1
        for g in self.gts:
            if self.iou[prior, g] > best:
                best, owner = self.iou[prior, g], g
        return best, owner

    def inside_box(self, prior: int, gt: int, margin: float = 0.0, side: float = 0.0) -> bool:
        """Whether a prior's centre lies more than ``margin`` pixels inside a gt's box.

        The sides of the box count as at least ``side`` pixels long.
        """
        inside = []
        for axis in (0, 1):
            at, low, high = self.centers[prior, axis], *self.gt_boxes[gt, [axis, axis + 2]]
            if high - low < F(side):
                middle = (low + high) * F(0.5)
                low, high = middle - F(0.5 * side), middle + F(0.5 * side)
            inside.append(min(at - low, high - at) > F(margin))
        return all(inside)

    def near_center(self, prior: int, gt: int, radius: float) -> bool:
        """Whether it lies within ``radius`` strides of the gt's position on each axis."""
        reach = F(radius) * self.strides[prior]
        low, high = self.points[gt] - reach, self.points[gt] + reach
        return bool(np.all((self.centers[prior] > low) & (self.centers[prior] < high)))

    def fill_up(self, owner: dict[int, int], least: int) -> None:
        """Give every gt at least so many priors, the nearest that have no gt; changes ``owner``.

        All gts that are short choose at once; of those that choose one prior the nearest
        gets it, then the lower. What is beyond the 64 nearest is too far.
        """
        offset = self.centers[:, None] - self.points[None]
        distance = offset[..., 0] * offset[..., 0] + offset[..., 1] * offset[..., 1]
        near = {
            g: sorted(self.priors, key=lambda n: (distance[n, g], n))[: max(least, 64)]
            for g in self.gts
        }
        while True:
            chosen: dict[int, list[int]] = {}
            for g in self.gts:
                free = [n for n in near[g] if n not in owner]
                if free and list(owner.values()).count(g) < least:
                    chosen.setdefault(free[0], []).append(g)
            if not chosen:
                return
            for n, gts in chosen.items():
                owner[n] = min(gts, key=lambda g: (distance[n, g], g))

    def nearest(self, gt: int) -> int:
        """The prior whose centre is nearest to the gt's position."""
        offset = self.centers[self.priors] - self.points[gt]
        return self.priors[int(np.argmin((offset * offset).sum(axis=1)))]

    def cell_of(self, level: Level, point: np.ndarray) -> tuple[int, int]:
        """The cell (x, y) that holds a point; beyond the grid, the last one."""
        x, y = np.floor(point / np.array(level.stride, dtype=F))
        return int(np.clip(x, 0, level.width - 1)), int(np.clip(y, 0, level.height - 1))

    def priors_in_cell(self, number: int, x: int, y: int) -> list[int]:
        """The priors of cell (x, y) of a level, one a base size."""
        level = self.levels[number]
        first = sum(other.num_priors for other in self.levels[:number])
        start = first + (y * level.width + x) * level.num_base
        return list(range(start, start + level.num_base))

    def center_priors(self, gt: int) -> list[int]:
        """On every level the priors of the cell that holds the gt's position."""
        found = []
        for number, level in enumerate(self.levels):
            found += self.priors_in_cell(number, *self.cell_of(level, self.points[gt]))
        return found

    def answer(self, owner: dict[int, int], ignored: set[int]) -> Answer:
        """One gt a prior; a prior with a gt is not ignored."""
        return Answer(sorted(owner.items()), (ignored | self.everything_else()) - set(owner))


def overlaps(boxes: np.ndarray, gts: np.ndarray) -> np.ndarray:
    """``(N, 4), (M, 4) -> (N, M)`` IoU; an inverted side counts as 0."""
    a, b = boxes[:, None], gts[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    common = np.maximum(high - low, F(0)).prod(axis=-1)
    area_a = np.maximum(a[..., 2:] - a[..., :2], F(0)).prod(axis=-1)
    area_b = np.maximum(b[..., 2:] - b[..., :2], F(0)).prod(axis=-1)
    return common / np.maximum(area_a + area_b - common, F(1e-6))


def distances(points: np.ndarray, center: np.ndarray, unit: np.ndarray | float = 1.0) -> np.ndarray:
    """Distance of each point ``(n, 2)`` from a centre, in units of ``unit``.

    The root is torch's, which differs from NumPy's by one unit in the last place at times: of
    two points that are equally near up to rounding, the rounding decides.
    """
    offset = (points - center) / F(unit)
    square = (offset * offset).sum(axis=1, dtype=F)
    return torch.from_numpy(square).sqrt().numpy()


def strongest(claims: list[tuple[float, int, int]]) -> dict[int, int]:
    """Of (strength, gt, prior) claims the strongest a prior, the first gt among equals."""
    best: dict[int, tuple[float, int]] = {}
    for strength, g, n in claims:
        if n not in best or strength > best[n][0]:
            best[n] = (strength, g)
    return {n: g for n, (_, g) in best.items()}


def lowest(values: np.ndarray, k: int, *, first_of_equals: bool) -> list[int]:
    """The places of the k lowest values, lowest first, infinite ones left out.

    Where equal values straddle the k-th place the choice is that of ``torch.topk``, as in
    the established implementations, or (``first_of_equals``) the earlier places.
    """
    order = np.argsort(values, kind='stable')[:k]
    if not first_of_equals:
        order = torch.from_numpy(values).topk(min(k, len(values)), largest=False).indices.numpy()
    return [int(i) for i in order if np.isfinite(values[i])]


def images_of(
    priors: Priors, gt: GroundTruth, predictions: Predictions | None = None
) -> list[Image]:
    """Each image of a batch."""
    if predictions is None:
        boxes = priors.boxes.expand(gt.batch_size, -1, 4)
        predictions = Predictions(boxes, boxes.new_ones(*boxes.shape[:2], 1))
    found = []
    for b in range(gt.batch_size):
        valid = list(range(priors.num_priors))
        if priors.valid is not None:
            valid = priors.valid[b].nonzero()[:, 0].tolist()
        found.append(
            Image(
                boxes=(priors.boxes[b] if priors.per_image else priors.boxes).numpy(),
                centers=(priors.centers[b] if priors.per_image else priors.centers).numpy(),
                strides=priors.strides.expand(priors.num_priors, 2).numpy(),
                level=priors.level_ids.tolist(),
                levels=priors.levels,
                priors=valid,
                gt_boxes=gt.boxes[b].numpy(),
                points=gt.points[b].numpy(),
                labels=gt.labels[b].tolist(),
                gts=gt.valid[b].nonzero()[:, 0].tolist(),
                size=tuple(gt.image_sizes[b].tolist()),
                predicted_boxes=predictions.boxes[b].numpy(),
                scores=predictions.scores[b].numpy(),
            )
        )
    return found
