"""Anchors fitted to the boxes of a data set.

Only widths and heights count: a box and an anchor are compared as if they shared a centre,
the best that an anchor of that shape can do.

Shapes: n boxes, k anchors, L levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..errors import DataError


def shape_iou(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """``(n, k)`` IoU of boxes and anchors about one centre.

    Args:
        sizes: ``(n, 2)`` widths and heights.
        anchors: ``(k, 2)``.

    Example:
        >>> shape_iou(np.array([[2.0, 4.0]]), np.array([[4.0, 2.0], [2.0, 4.0]])).round(3).tolist()
        [[0.333, 1.0]]
    """
    shared = np.minimum(sizes[:, None], anchors[None]).prod(2)
    return shared / (sizes.prod(1)[:, None] + anchors.prod(1)[None] - shared)


def best_recall(sizes: np.ndarray, anchors: np.ndarray, *, iou_thr: float = 0.5) -> float:
    """The best possible recall: share of boxes that some anchor fits by ``iou_thr`` at least."""
    return float((shape_iou(sizes, anchors).max(1) >= iou_thr).mean())


def fit_anchors(
    sizes: np.ndarray, count: int, *, seed: int = 0, restarts: int = 5, iterations: int = 100
) -> np.ndarray:
    """``(k, 2)`` anchors by k-means with 1 - IoU as distance, smallest first.

    Of several seeded starts the one with the highest mean IoU.

    Args:
        sizes: ``(n, 2)`` widths and heights of the boxes, in pixels of the network's input.
        count: k.
        seed: Of the starts.
        restarts: How many starts.
        iterations: The most steps of each.

    Raises:
        DataError: If there are fewer different boxes than anchors.

    Source: Redmon and Farhadi, "YOLO9000", CVPR 2017, dimension clusters.
    """
    sizes = np.asarray(sizes, np.float64).reshape(-1, 2)
    different = np.unique(sizes, axis=0)
    if len(different) < count:
        raise DataError(f'{len(different)} different box sizes are too few for {count} anchors')
    rng = np.random.default_rng(seed)
    best, best_mean = different[:count], -1.0
    for _ in range(restarts):
        anchors = different[rng.choice(len(different), count, replace=False)]
        for _ in range(iterations):
            owner = shape_iou(sizes, anchors).argmax(1)
            moved = np.array(
                [
                    sizes[owner == i].mean(0) if (owner == i).any() else anchors[i]
                    for i in range(count)
                ]
            )
            if np.allclose(moved, anchors):
                break
            anchors = moved
        mean = float(shape_iou(sizes, anchors).max(1).mean())
        if mean > best_mean:
            best, best_mean = anchors, mean
    return best[np.argsort(best.prod(1))]


@dataclass(frozen=True)
class GridAnchors:
    """Settings of an ``AnchorGenerator`` for boxes of certain sizes.

    Args:
        octave_base_scale: Side of the smallest anchor of a level in strides.
        scales_per_octave: Anchors of growing size a level and ratio.
        ratios: Heights over widths.
        recall: Best possible recall at IoU 0.5.
        mean_iou: Mean IoU of each box with its best anchor.
    """

    octave_base_scale: float
    scales_per_octave: int
    ratios: tuple[float, ...]
    recall: float
    mean_iou: float

    def anchors(self, strides: Sequence[int]) -> np.ndarray:
        """``(k, 2)`` widths and heights of all levels."""
        scales = self.octave_base_scale * 2 ** (
            np.arange(self.scales_per_octave) / self.scales_per_octave
        )
        sides = np.outer(strides, scales).reshape(-1)
        roots = np.sqrt(self.ratios)
        return np.stack([np.outer(sides, 1 / roots), np.outer(sides, roots)], 2).reshape(-1, 2)


def fit_grid_anchors(
    sizes: np.ndarray, strides: Sequence[int], *, scales_per_octave: int = 3, max_ratios: int = 3
) -> GridAnchors:
    """The base scale and the fewest ratios that fit boxes well, for anchors of all levels.

    Another ratio is taken where it raises the mean IoU by 0.02 at least.

    Args:
        sizes: ``(n, 2)`` widths and heights in pixels of the network's input.
        strides: Of the levels.
        scales_per_octave: Anchors of growing size a level and ratio.
        max_ratios: The most ratios.
    """
    sizes = np.asarray(sizes, np.float64).reshape(-1, 2)
    if not len(sizes):
        raise DataError('no boxes to fit anchors to')
    logs = np.log(sizes[:, 1] / sizes[:, 0])
    best: GridAnchors | None = None
    for count in range(1, max_ratios + 1):
        middle = [(i + 0.5) / count for i in range(count)]
        ratios = tuple(sorted({round(float(np.exp(q)), 2) for q in np.quantile(logs, middle)}))
        for base in np.geomspace(1, 16, 49):
            trial = GridAnchors(round(float(base), 2), scales_per_octave, ratios, 0.0, 0.0)
            overlaps = shape_iou(sizes, trial.anchors(strides)).max(1)
            found = GridAnchors(
                trial.octave_base_scale,
                scales_per_octave,
                ratios,
                float((overlaps >= 0.5).mean()),
                float(overlaps.mean()),
            )
            margin = 0.02 if best is not None and len(ratios) > len(best.ratios) else 0.0
            if best is None or found.mean_iou > best.mean_iou + margin:
                best = found
    assert best is not None
    return best


def fit_regress_ranges(
    sizes: np.ndarray, strides: Sequence[int]
) -> tuple[tuple[float, float], ...]:
    """FCOS's ranges of the greatest distance, one per level, so that each level has its share.

    The limits are quantiles of what centres of boxes regress (half the longer side, and a
    quarter more for points around it), kept between 3 and 12 strides of the level.

    Args:
        sizes: ``(n, 2)`` widths and heights in pixels of the network's input.
        strides: Of the levels, finest first.
    """
    sizes = np.asarray(sizes, np.float64).reshape(-1, 2)
    if not len(sizes):
        raise DataError('no boxes to fit ranges to')
    reach = sizes.max(1) * 0.625
    shares = [(i + 1) / len(strides) for i in range(len(strides) - 1)]
    limits: list[float] = []
    for quantile, stride in zip(np.quantile(reach, shares) if shares else [], strides):
        low = max(3 * stride, limits[-1] + stride if limits else 0)
        limits.append(float(round(min(max(quantile, low), max(12 * stride, low)))))
    edges = [-1.0, *limits, 1e8]
    return tuple(pairwise(edges))
