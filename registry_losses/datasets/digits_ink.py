"""One handwritten digit as ink: enlarged, warped, and measured.

Shapes: h x w pixels of a coverage mask, P points of ink.
"""

from __future__ import annotations

import cv2
import numpy as np

_CANON = 80
"""Side of the smooth enlargement (10 x the 8 x 8 original) that digits are warped from."""

_MARGIN = 16
"""Empty border of the enlargement, so that cubic interpolation fades out inside it."""


def render_digit(rng: np.random.Generator, sample: np.ndarray, side: float) -> np.ndarray:
    """Coverage of a digit, its ink ``side`` pixels long on the longer side, ``(h, w)``."""
    ink = _smooth_ink(sample, float(rng.uniform(0.4, 0.58)))
    angle, shear = np.deg2rad(rng.uniform(-12, 12)), rng.uniform(-0.18, 0.18)
    stretch = np.exp(rng.uniform(-0.12, 0.12))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.array([[stretch, shear], [0.0, 1.0 / stretch]])
    ys, xs = np.nonzero(ink > 0.5)
    points = linear @ np.stack([xs, ys]).astype(np.float64)  # (2, P)
    low, high = points.min(1), points.max(1)
    scale = side / (high - low).max()
    # The soft edge reaches up to a cell of the 8 x 8 sample beyond the ink.
    margin = 2.0 + _CANON // 8 * scale
    offset = margin + rng.uniform(0, 1, 2) - low * scale
    matrix = np.hstack([linear * scale, offset[:, None]])
    width, height = np.ceil((high - low) * scale + 2 * margin + 1).astype(int)
    # The strokes are smooth over 10 pixels of the enlargement, so shrinking it five times
    # by plain interpolation does not alias; a small blur keeps the finest edges honest.
    if scale < 0.35:
        ink = cv2.GaussianBlur(ink, (0, 0), 0.4 / scale)
    alpha = cv2.warpAffine(ink, matrix, (int(width), int(height)), flags=cv2.INTER_LINEAR)
    return alpha * np.float32(rng.uniform(0.88, 1.0))


def _smooth_ink(sample: np.ndarray, threshold: float) -> np.ndarray:
    """Enlarge the 8 x 8 sample smoothly and turn its grey slope into a pen's soft edge.

    ``threshold`` decides where the slope becomes ink: low is a broad pen, high a fine one.
    """
    padded = np.pad(sample, 1)
    scale = _CANON // 8
    large: np.ndarray = cv2.resize(
        padded, (padded.shape[1] * scale, padded.shape[0] * scale), interpolation=cv2.INTER_CUBIC
    )
    large = np.pad(cv2.GaussianBlur(large, (0, 0), 2.0), _MARGIN - scale)
    soft = np.clip((large - threshold) * np.float32(1 / 0.5) + np.float32(0.5), 0, 1)
    return soft * soft * (3 - 2 * soft)


def ink_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """The extent xyxy of a coverage mask ``(h, w)``, to a fraction of a pixel.

    The edge is where the profile (the largest coverage of each row or column) passes
    half of its maximum, interpolated between pixel centres, so the box does not depend
    on how the digit fell on the pixel grid.

    Example:
        >>> mask = np.zeros((6, 8), np.float32); mask[2:4, 3:7] = 1
        >>> ink_box(mask)
        (3.0, 2.0, 7.0, 4.0)
    """
    half = float(mask.max()) / 2
    x1, x2 = _extent(mask.max(0), half)
    y1, y2 = _extent(mask.max(1), half)
    return float(x1), float(y1), float(x2), float(y2)


def _extent(profile: np.ndarray, half: float) -> tuple[float, float]:
    padded = np.concatenate([[0.0], profile.astype(np.float64), [0.0]])
    inside = np.flatnonzero(padded >= half)
    first, last = int(inside[0]), int(inside[-1])
    low = first - (padded[first] - half) / (padded[first] - padded[first - 1])
    high = last + (padded[last] - half) / (padded[last] - padded[last + 1])
    # padded[i] is the pixel i - 1, whose centre lies at i - 1 + 0.5.
    return low - 0.5, high - 0.5
