"""Boxes, names and scores drawn on images, with OpenCV.

Images are RGB uint8 ``(H, W, 3)``; drawing functions return a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ..errors import DataError

Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Hershey capitals are 21 units high, at a scale of 1.
_FONT_HEIGHT = 21.0


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    *,
    texts: Sequence[str] = (),
    colours: Colour | list[Colour] = (0, 220, 0),
    thickness: int | None = None,
    text_height: int | None = None,
) -> np.ndarray:
    """Outline boxes and write a text at each.

    Args:
        image: RGB.
        boxes: ``(n, 4)`` xyxy in pixels of the image; not finite ones are skipped.
        texts: One a box, or none.
        colours: One RGB colour, or a list of one a box.
        thickness: Of the lines. Default: grows with the image.
        text_height: Of capitals, in pixels. Default: grows with the image.

    Returns:
        A copy with the boxes.
    """
    canvas = np.ascontiguousarray(image).copy()
    longest = max(canvas.shape[:2])
    thickness = thickness or max(1, round(longest / 400))
    text_height = text_height or max(7, round(longest / 45))
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    per_box = colours if isinstance(colours, list) else [colours] * len(boxes)
    for i, box in enumerate(boxes):
        if not np.isfinite(box).all():
            continue
        colour = per_box[i]
        # Continuous edges to the pixels inside them; far-off ones would overflow OpenCV.
        x1, y1, x2, y2 = np.clip(np.round(box), -(2**14), 2**14).astype(int).tolist()
        cv2.rectangle(canvas, (x1, y1), (max(x2 - 1, x1), max(y2 - 1, y1)), colour, thickness)
        if i < len(texts):
            write(canvas, texts[i], (x1, y1), colour, text_height)
    return canvas


def write(
    canvas: np.ndarray,
    text: str,
    corner: tuple[int, int],
    colour: Colour,
    height: int,
    *,
    inside: bool = False,
) -> None:
    """Write on a filled label, in place, above ``corner`` (below it where there is no room)."""
    scale, weight = height / _FONT_HEIGHT, max(1, height // 10)
    (text_w, text_h), base = cv2.getTextSize(text, _FONT, scale, weight)
    pad = max(1, height // 6)
    full_w, full_h = text_w + 2 * pad, text_h + base // 2 + 2 * pad
    x = int(np.clip(corner[0], 0, max(canvas.shape[1] - full_w, 0)))
    y = corner[1] if inside else corner[1] - full_h
    y = int(np.clip(y, 0, max(canvas.shape[0] - full_h, 0)))
    cv2.rectangle(canvas, (x, y), (x + full_w, y + full_h), colour, -1)
    # Black on light labels, white on dark ones (Rec. 601 luminance).
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    ink = (0, 0, 0) if light else (255, 255, 255)
    origin = (x + pad, y + pad + text_h)
    cv2.putText(canvas, text, origin, _FONT, scale, ink, weight, cv2.LINE_AA)


def label_texts(
    labels: np.ndarray, classes: Sequence[str] | None, scores: np.ndarray | None = None
) -> list[str]:
    """``name`` or ``name: 87%`` for every instance; the number where the name is unknown."""
    names = [
        classes[label] if classes is not None and 0 <= label < len(classes) else str(label)
        for label in labels.tolist()
    ]
    if scores is None:
        return names
    # Percent and a colon: digits are class names too, and "3 0.51" would read as 30.51.
    return [f'{name}: {score:.0%}' for name, score in zip(names, scores.tolist())]


def read_rgb(path: str, *, exif_turned: bool = True) -> np.ndarray:
    """An image file as RGB.

    Args:
        path: The file.
        exif_turned: Turn the image as its EXIF tag says; a data sample's meta entry of
            this name tells what its boxes mean.

    Raises:
        FileNotFoundError: If there is no readable image.
    """
    flag = cv2.IMREAD_COLOR
    if not exif_turned:
        flag |= cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imread(str(path), flag)
    if image is None:
        raise FileNotFoundError(f'no readable image at {path}')
    return image[..., ::-1]


def image_of(sample: Any) -> np.ndarray:
    """The image of a data sample as RGB, turned as its boxes mean; grey if it is damaged.

    Args:
        sample: With ``img_path``, and where known ``ori_shape`` and ``exif_turned``.

    Raises:
        DataError: If the sample has no ``img_path``.
        FileNotFoundError: If there is no readable image, and its size is not known.
    """
    path, size = sample.get('img_path'), sample.get('ori_shape')
    if path is None:
        raise DataError("a data sample has no 'img_path': add it to the meta_keys of PackDetInputs")
    turned = sample.get('exif_turned')
    try:
        image = read_rgb(path, exif_turned=turned is not False)
    except FileNotFoundError:
        if size is None:
            raise
        return np.full((*size[:2], 3), 114, np.uint8)
    if turned is None and size is not None and image.shape[:2] != tuple(size[:2]):
        other = read_rgb(path, exif_turned=False)
        image = other if other.shape[:2] == tuple(size[:2]) else image
    return image


def write_rgb(path: str, image: np.ndarray) -> None:
    """Write an RGB image; the suffix of ``path`` decides the format.

    Raises:
        OSError: If it could not be written.
    """
    if not cv2.imwrite(str(path), image[..., ::-1]):
        raise OSError(f'could not write {path}')
