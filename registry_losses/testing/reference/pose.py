"""Pose targets as their papers state them: cell by cell, person by person.

Plain Python and NumPy, slow, for reading and for tests.

Shapes: n persons of an image, V joints, L limbs, H x W cells.
"""

import math
from collections.abc import Sequence

import numpy as np


def gaussian_heatmaps(
    joints: np.ndarray, labelled: np.ndarray, size: tuple[int, int], sigma: float
) -> np.ndarray:
    """For each joint and cell the largest Gaussian of all persons; never their sum.

    Cao et al. 2017, equations 6 and 7. As everywhere, what is further than ``3 sigma``
    cells to a side of the nearest cell is 0.

    Args:
        joints: ``(n, V, 2)`` x, y in cells; whole numbers are centres of cells.
        labelled: ``(n, V)``.
        size: (H, W).
        sigma: In cells.

    Returns:
        ``(V, H, W)``.
    """
    height, width = size
    maps = np.zeros((joints.shape[1], height, width))
    reach = int(3 * sigma)
    for person in range(joints.shape[0]):
        for v in range(joints.shape[1]):
            if not labelled[person, v]:
                continue
            x, y = joints[person, v]
            near_x = min(max(math.floor(x + 0.5), 0), width - 1)
            near_y = min(max(math.floor(y + 0.5), 0), height - 1)
            for row in range(height):
                for column in range(width):
                    if abs(row - near_y) > reach or abs(column - near_x) > reach:
                        continue
                    value = math.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
                    maps[v, row, column] = max(maps[v, row, column], value)
    return maps


def limb_fields(
    joints: np.ndarray,
    labelled: np.ndarray,
    limbs: Sequence[tuple[int, int]],
    size: tuple[int, int],
    *,
    half_width: float = 1.0,
    overhang: float = 0.0,
) -> np.ndarray:
    """For each limb and cell the mean direction of the persons whose limb covers the cell.

    Cao et al. 2017, equations 8 and 9.

    Args:
        joints: ``(n, V, 2)`` x, y in cells.
        labelled: ``(n, V)``.
        limbs: L pairs of joints.
        size: (H, W).
        half_width: Of a limb, in cells.
        overhang: How far a limb's rectangle goes beyond its ends, in cells.

    Returns:
        ``(2 L, H, W)``: x and y of limb 0, of limb 1 ...
    """
    height, width = size
    maps = np.zeros((2 * len(limbs), height, width))
    for number, (a, b) in enumerate(limbs):
        for row in range(height):
            for column in range(width):
                covering = []
                for person in range(joints.shape[0]):
                    if not (labelled[person, a] and labelled[person, b]):
                        continue
                    (ax, ay), (bx, by) = joints[person, a], joints[person, b]
                    length = math.hypot(bx - ax, by - ay)
                    if length < 1e-4:  # no direction
                        continue
                    ux, uy = (bx - ax) / length, (by - ay) / length
                    along = (column - ax) * ux + (row - ay) * uy
                    across = abs((column - ax) * uy - (row - ay) * ux)
                    if -overhang <= along <= length + overhang and across <= half_width:
                        covering.append((ux, uy))
                if covering:
                    maps[2 * number : 2 * number + 2, row, column] = np.mean(covering, axis=0)
    return maps


def region_mask(
    regions: np.ndarray, size: tuple[int, int], stride: float, offset: float = 0.5
) -> np.ndarray:
    """``(H, W)`` bool: cells whose centre lies inside a region xyxy where nothing is annotated."""
    mask = np.zeros(size, bool)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = (column + offset) * stride, (row + offset) * stride
            for x1, y1, x2, y2 in regions:
                mask[row, column] |= x1 < x < x2 and y1 < y < y2
    return mask
