"""What happens to the annotations when an image is moved, cut or put together.

The annotations of a sample are the arrays below in ``results``, all of length n:
``gt_bboxes (n, 4)`` float32 xyxy, ``gt_bboxes_labels (n,)``, ``gt_ignore_flags (n,)``,
``gt_weights (n,)`` (only where an annotation has one), ``gt_keypoints (n, V, 2)``,
``gt_keypoints_visible (n, V)``, ``gt_in_mask (n,)`` (see ``ignored_mask.py``). Coordinates
are continuous: pixel i covers [i, i + 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .ignored_mask import boxes_for_masks

FIELDS = (
    'gt_bboxes',
    'gt_bboxes_labels',
    'gt_ignore_flags',
    'gt_weights',
    'gt_keypoints',
    'gt_keypoints_visible',
    'gt_in_mask',
)


def select(results: dict, keep: np.ndarray) -> None:
    """Keep the instances of a mask or index, in every field that is present."""
    for field in FIELDS:
        if field in results:
            results[field] = results[field][keep]


def scale_and_shift(
    results: dict, scale: Sequence[float] = (1.0, 1.0), shift: Sequence[float] = (0.0, 0.0)
) -> None:
    """Move boxes and keypoints: ``x -> x * scale + shift``, both as (x, y)."""
    factor = np.asarray(scale, np.float32)
    offset = np.asarray(shift, np.float32)
    if 'gt_bboxes' in results:
        boxes = results['gt_bboxes'].reshape(-1, 2, 2)
        results['gt_bboxes'] = (boxes * factor + offset).reshape(-1, 4)
    if 'gt_keypoints' in results:
        results['gt_keypoints'] = results['gt_keypoints'] * factor + offset


def affine(results: dict, matrix: np.ndarray) -> None:
    """Move boxes and keypoints by a 2 x 3 (or 3 x 3) matrix on (x, y).

    A turned box becomes the axis-aligned box around its four corners.
    """
    linear, offset = np.asarray(matrix, np.float64)[:2, :2], np.asarray(matrix)[:2, 2]
    if 'gt_bboxes' in results:
        boxes = results['gt_bboxes'].astype(np.float64)
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)  # (n, 4, 2)
        moved = corners @ linear.T + offset
        results['gt_bboxes'] = np.concatenate([moved.min(1), moved.max(1)], 1).astype(np.float32)
    if 'gt_keypoints' in results:
        moved = results['gt_keypoints'].astype(np.float64) @ linear.T + offset
        results['gt_keypoints'] = moved.astype(np.float32)


def clip(results: dict, height: int, width: int) -> None:
    """Clip boxes to the image; keypoints outside it become unlabelled (v = 0)."""
    if 'gt_bboxes' in results:
        limit = np.array([width, height, width, height], np.float32)
        results['gt_bboxes'] = np.clip(results['gt_bboxes'], 0, limit)
    if 'gt_keypoints' in results:
        x, y = results['gt_keypoints'][..., 0], results['gt_keypoints'][..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= width) & (y <= height)
        results['gt_keypoints_visible'] = results['gt_keypoints_visible'] * inside


def drop_degenerate(results: dict, *, min_side: float = 1e-3) -> None:
    """Drop instances whose box has a side not above ``min_side`` pixels, or is not finite."""
    if 'gt_bboxes' not in results:
        return
    boxes = results['gt_bboxes']
    # A comparison with NaN is false, so such a box goes as well.
    keep = ((boxes[:, 2:] - boxes[:, :2]) > min_side).all(1) & np.isfinite(boxes).all(1)
    if not keep.all():
        select(results, keep)


def to_image(results: dict, *, min_side: float = 1e-3) -> None:
    """Clip to ``results['img']`` and drop what has no area left."""
    height, width = results['img'].shape[:2]
    results['img_shape'] = (height, width)
    clip(results, height, width)
    drop_degenerate(results, min_side=min_side)


def concatenate(parts: Sequence[dict]) -> dict:
    """The annotations of several samples one after the other (fields of the first).

    Weights are there if any sample has them; objects without one count 1. Of regions that
    nobody annotated the boxes stay, the masks do not.
    """
    for part in parts:
        boxes_for_masks(part)
    if any('gt_weights' in part for part in parts):
        parts = [
            {'gt_weights': np.ones(len(part['gt_bboxes']), np.float32), **part} for part in parts
        ]
    return {
        field: np.concatenate([part[field] for part in parts])
        for field in FIELDS
        if field in parts[0]
    }
