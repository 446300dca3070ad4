"""Boxes, names and scores drawn on images, with OpenCV.

Images are RGB uint8 ``(H, W, 3)``; drawing functions return a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ..errors import DataError
from .labels import place_labels

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
    shown = np.isfinite(boxes).all(1).nonzero()[0].tolist()
    # Continuous edges to the pixels inside them; far-off ones would overflow OpenCV.
    edges = np.clip(np.round(boxes[shown]), -(2**14), 2**14)
    for i, box in zip(shown, edges.astype(int).tolist()):
        x1, y1, x2, y2 = box
        cv2.rectangle(canvas, (x1, y1), (max(x2 - 1, x1), max(y2 - 1, y1)), per_box[i], thickness)
    # Only now: the name of one box must not lie under the outline of the next.
    named = [(i, box) for i, box in zip(shown, edges) if i < len(texts)]
    if named:
        sizes = np.array([label_size(texts[i], text_height) for i, _ in named])
        size = (canvas.shape[1], canvas.shape[0])
        places = place_labels(np.stack([box for _, box in named]), sizes, size)
        for (i, _), place in zip(named, places):
            put = _write_bare if place.bare else _write_filled
            put(canvas, texts[i], (place.x, place.y), per_box[i], text_height)
    return canvas


def label_size(text: str, height: int) -> tuple[int, int]:
    """(width, height) in pixels of a label whose capitals are ``height`` high."""
    scale, weight = height / _FONT_HEIGHT, max(1, height // 10)
    (width, tall), base = cv2.getTextSize(text, _FONT, scale, weight)
    pad = max(1, height // 6)
    return width + 2 * pad, tall + base // 2 + 2 * pad


def write(
    canvas: np.ndarray, text: str, corner: tuple[int, int], colour: Colour, height: int
) -> None:
    """Write on a filled label, in place, its upper left corner at ``corner``."""
    width, tall = label_size(text, height)
    x = int(np.clip(corner[0], 0, max(canvas.shape[1] - width, 0)))
    y = int(np.clip(corner[1], 0, max(canvas.shape[0] - tall, 0)))
    _write_filled(canvas, text, (x, y), colour, height)


def _write_filled(
    canvas: np.ndarray, text: str, corner: tuple[int, int], colour: Colour, height: int
) -> None:
    x, y = corner
    width, tall = label_size(text, height)
    cv2.rectangle(canvas, (x, y), (x + width, y + tall), colour, -1)
    _put(canvas, text, corner, height, _ink(colour))


def _write_bare(
    canvas: np.ndarray, text: str, corner: tuple[int, int], colour: Colour, height: int
) -> None:
    """Without a background: what lies below stays visible between the strokes."""
    _put(canvas, text, corner, height, _ink(colour), extra=2)
    _put(canvas, text, corner, height, colour)


def _ink(colour: Colour) -> Colour:
    """Black on light colours, white on dark ones (Rec. 601 luminance)."""
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    return (0, 0, 0) if light else (255, 255, 255)


def _put(
    canvas: np.ndarray,
    text: str,
    corner: tuple[int, int],
    height: int,
    ink: Colour,
    extra: int = 0,
) -> None:
    scale, weight = height / _FONT_HEIGHT, max(1, height // 10)
    tall = cv2.getTextSize(text, _FONT, scale, weight)[0][1]
    pad = max(1, height // 6)
    origin = (corner[0] + pad, corner[1] + pad + tall)
    cv2.putText(canvas, text, origin, _FONT, scale, ink, weight + extra, cv2.LINE_AA)


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
