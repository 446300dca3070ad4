"""Where the names of boxes are written, so that they hide neither objects nor each other.

Shapes: n boxes, P places tried for a label. Boxes and labels are xyxy in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A label that would hide more than this share of an object is written without its background.
_MOST_HIDDEN = 0.25


@dataclass(frozen=True)
class Label:
    """A place for a name.

    Attributes:
        x: Left edge.
        y: Upper edge.
        bare: Whether it is to be written without a background: it lies over an object.
    """

    x: int
    y: int
    bare: bool


def place_labels(boxes: np.ndarray, sizes: np.ndarray, canvas: tuple[int, int]) -> list[Label]:
    """A place for the label of each box.

    Of the places around a box (above, below, beside, within its upper edge) the one that
    hides least: of other boxes the share that it covers, of labels placed before likewise.
    The last box is served first, for it is drawn on top.

    Args:
        boxes: ``(n, 4)``, finite.
        sizes: ``(n, 2)`` width and height of the labels.
        canvas: (width, height).

    Example:
        >>> place_labels(np.array([[20., 20., 60., 60.]]), np.array([[30, 10]]), (100, 100))
        [Label(x=20, y=10, bare=False)]
    """
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(1), 1.0)
    taken = np.zeros((0, 4))
    found: dict[int, Label] = {}
    for i in reversed(range(len(boxes))):
        places = _places(boxes[i], sizes[i], canvas)  # (P, 4)
        hidden = _overlaps(places, boxes) / areas  # (P, n)
        # Within its own box a label is at home as long as that is large.
        hidden[:, i] *= 0.5
        labels = _overlaps(places, taken) / max(float(sizes[i].prod()), 1.0)
        cost = hidden.sum(1) + 2 * labels.sum(1) + 0.02 * np.arange(len(places))
        best = int(cost.argmin())
        x, y = places[best, :2].astype(int).tolist()
        bare = bool(hidden[best].max() > _MOST_HIDDEN)
        found[i] = Label(x, y, bare)
        taken = np.concatenate([taken, places[best][None]])
    return [found[i] for i in range(len(boxes))]


def _places(box: np.ndarray, size: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """``(P, 4)``, the usual place first, moved into the canvas."""
    (x1, y1, x2, y2), (w, h) = box, size
    corners = np.array(
        [
            (x1, y1 - h),
            (x1, y2),
            (x2 - w, y1 - h),
            (x2 - w, y2),
            (x2, y1),
            (x1 - w, y1),
            (x1, y1),
        ]
    )
    room = np.maximum(np.array(canvas) - size, 0)
    corners = np.clip(np.round(corners), 0, room)
    return np.concatenate([corners, corners + size], axis=1)


def _overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``(P, n)`` shared areas."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return (high - low).clip(min=0).prod(2)
