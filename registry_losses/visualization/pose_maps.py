"""What a pose head sees: heatmaps, the direction of limb fields, the tags of joints.

Images are RGB uint8 ``(H, W, 3)``. Shapes: V joints, L limbs, D tag dimensions, h x w cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError
from .draw import write, write_rgb

_PAPER = 250
_TITLE = 18
# Tags mean nothing where no joint is, and cells below this are none.
_SEEN = 0.2


def draw_heatmaps(heatmaps: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The largest of all joints' maps, over the darkened image.

    Args:
        heatmaps: ``(V, h, w)`` in [0, 1].
        image: Its size is that of the picture.
    """
    size = image.shape[1], image.shape[0]
    heat = cv2.resize(heatmaps.max(0).clip(0, 1), size, interpolation=cv2.INTER_LINEAR)
    colour = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = np.clip(2 * heat, 0, 1)[..., None]
    return (0.35 * image * (1 - share) + colour * share).astype(np.uint8)


def direction_colours(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """RGB of vectors: the hue says which way, the brightness how long (1 is full).

    To the right red, down yellow-green, to the left cyan, up violet.
    """
    angle = (np.degrees(np.arctan2(y, x)) % 360 / 2).astype(np.uint8)  # OpenCV's 180 hues
    value = (np.hypot(x, y).clip(0, 1) * 255).astype(np.uint8)
    hsv = np.stack((angle % 180, np.full_like(angle, 235), value), axis=-1)
    return cv2.cvtColor(hsv.reshape(1, -1, 3), cv2.COLOR_HSV2RGB).reshape(hsv.shape)


def draw_fields(fields: np.ndarray, size: Sequence[int], *, least: float = 0.35) -> np.ndarray:
    """Of every cell the longest vector of all limbs, by colour and by an arrow.

    Args:
        fields: ``(2 L, h, w)``, x and y of each limb.
        size: (height, width) of the picture.
        least: Shorter vectors have no arrow.
    """
    height, width = size[:2]
    pairs = fields.reshape(-1, 2, *fields.shape[-2:])
    longest = np.hypot(pairs[:, 0], pairs[:, 1]).argmax(0)  # (h, w)
    x, y = np.take_along_axis(pairs, longest[None, None], axis=0)[0]
    canvas = cv2.resize(direction_colours(x, y), (width, height), interpolation=cv2.INTER_NEAREST)
    step_x, step_y = width / x.shape[1], height / x.shape[0]
    every = max(1, round(14 / min(step_x, step_y)))
    half = 0.42 * every * min(step_x, step_y)
    for row in range(every // 2, x.shape[0], every):
        for column in range(every // 2, x.shape[1], every):
            length = float(np.hypot(x[row, column], y[row, column]))
            if length < least:
                continue
            dx, dy = half * x[row, column] / length, half * y[row, column] / length
            middle = (column + 0.5) * step_x, (row + 0.5) * step_y
            tail = round(middle[0] - dx), round(middle[1] - dy)
            tip = round(middle[0] + dx), round(middle[1] + dy)
            cv2.arrowedLine(canvas, tail, tip, (255, 255, 255), 1, cv2.LINE_AA, tipLength=0.45)
    return _with_wheel(canvas)


def _with_wheel(canvas: np.ndarray) -> np.ndarray:
    """A disc in the lower left corner that says which colour is which direction."""
    radius = max(10, min(canvas.shape[:2]) // 14)
    span = np.arange(-radius, radius + 1) / radius
    x, y = np.meshgrid(span, span)
    disc = direction_colours(x, y)
    inside = (x * x + y * y <= 1)[..., None]
    corner = canvas[-2 * radius - 3 : -2, 2 : 2 * radius + 3]
    corner[:] = np.where(inside, disc, corner)
    return canvas


def draw_tags(tags: np.ndarray, heatmaps: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Of every cell the tag of its most certain joint, by colour; dark where no joint is.

    Args:
        tags: ``(D, V, h, w)``; the first dimension is drawn.
        heatmaps: ``(V, h, w)`` in [0, 1].
        size: (height, width) of the picture.
    """
    joint = heatmaps.argmax(0)[None]
    tag = np.take_along_axis(tags[0], joint, axis=0)[0]
    certain = heatmaps.max(0).clip(0, 1)
    seen = certain > _SEEN
    low, high = np.percentile(tag[seen], (2, 98)) if seen.any() else (0.0, 1.0)
    scaled = np.clip((tag - low) / max(high - low, 1e-6), 0, 1)
    colour = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    shown = (colour * np.clip(2 * certain, 0, 1)[..., None]).astype(np.uint8)
    return cv2.resize(shown, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)


def draw_map_sheet(rows: Sequence[Mapping[str, np.ndarray]], path: str | Path) -> Path:
    """Write a picture with a row an image and its panels, of one size, side by side.

    Args:
        rows: Title to panel, in order, the same titles in each.
        path: PNG or JPG to write; its folder is made.

    Raises:
        DataError: If there is no row.
    """
    if not rows:
        raise DataError('draw_map_sheet: expected at least one row of panels, got none')
    titles = list(rows[0])
    heights = [max(row[t].shape[0] for t in titles) for row in rows]
    widths = [max(row[t].shape[1] for row in rows) for t in titles]
    strips = [np.hstack([_title(t, w) for t, w in zip(titles, widths)])]
    for row, height in zip(rows, heights):
        strips.append(np.hstack([_fill(row[t], height, w) for t, w in zip(titles, widths)]))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rgb(str(path), np.vstack(strips))
    return path


def _title(text: str, width: int) -> np.ndarray:
    strip = np.full((_TITLE, width + 4, 3), _PAPER, np.uint8)
    write(strip, text, (0, 1), (_PAPER,) * 3, 9)
    return strip


def _fill(panel: np.ndarray, height: int, width: int) -> np.ndarray:
    below, right = height - panel.shape[0], width - panel.shape[1]
    return np.pad(panel, ((2, below + 2), (2, right + 2), (0, 0)), constant_values=_PAPER)
