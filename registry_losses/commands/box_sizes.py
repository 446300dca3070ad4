"""The sizes of a data set's objects as a network sees them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError


def box_sizes(images: Sequence[dict], image_size: Sequence[int] | None = None) -> np.ndarray:
    """``(n, 2)`` widths and heights of all objects, ignore regions left out, in pixels.

    Args:
        images: As a data set has them.
        image_size: (width, height) that each image is fitted into with its ratio kept, the
            longer side to the larger number; None leaves images as they are.

    Raises:
        DataError: If there is no object.
    """
    sizes = []
    for image in images:
        factor = fit_factor(image['width'], image['height'], image_size)
        for instance in image['instances']:
            if not instance['ignore_flag']:
                x1, y1, x2, y2 = instance['bbox']
                sizes.append(((x2 - x1) * factor, (y2 - y1) * factor))
    if not sizes:
        raise DataError('the data set has no objects (or ignore regions alone)')
    return np.array(sizes)


def fit_factor(width: int, height: int, image_size: Sequence[int] | None) -> float:
    """By how much ``Resize(scale=image_size, keep_ratio=True)`` scales an image."""
    if image_size is None:
        return 1.0
    return min(
        max(image_size) / max(width, height),
        min(image_size) / min(width, height),
    )
