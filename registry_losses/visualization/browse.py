"""Sheets of samples as a model gets them: augmented images with their boxes.

Images are RGB uint8 ``(H, W, 3)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..datasets.metainfo import make_palette
from ..errors import DataError
from ..evaluation.samples import to_numpy
from .draw import draw_boxes, label_texts, write, write_rgb
from .skeletons import draw_skeletons

_PAPER = 250
_TITLE = 18
_GAP = 6
_IGNORED = (150, 150, 150)


def draw_samples(
    packed: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    columns: int = 4,
    cell: int = 320,
) -> Path:
    """Write a sheet of packed samples, each with its boxes in pixels of the model's input.

    Boxes bear the colour and the name of their class (and their weight, where it is not 1);
    ignore regions are grey. Persons with joints are drawn as skeletons, too. The title of an
    image is its file's name and its size.

    Args:
        packed: ``dict(inputs, data_samples)`` each, as ``PackDetInputs`` makes it.
        path: PNG to write; its folder is made.
        classes: Names of the labels.
        columns: Images a row.
        cell: Longest side of an image on the sheet, in pixels.

    Raises:
        DataError: If there is no sample.
    """
    if not packed:
        raise DataError('draw_samples: expected at least one sample, got none')
    tiles = [_tile(one, classes, cell) for one in packed]
    columns = min(columns, len(tiles))
    width = max(tile.shape[1] for tile in tiles)
    rows = []
    for begin in range(0, len(tiles), columns):
        row = tiles[begin : begin + columns]
        height = max(tile.shape[0] for tile in row)
        row = [_fill(tile, height, width) for tile in row]
        row += [np.full((height, width, 3), _PAPER, np.uint8)] * (columns - len(row))
        rows.append(np.hstack(row))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rgb(str(path), np.vstack(rows))
    return path


def _tile(packed: Mapping[str, Any], classes: Sequence[str] | None, cell: int) -> np.ndarray:
    if 'data_samples' not in packed or 'inputs' not in packed:
        raise DataError(f'the pipeline ends without PackDetInputs: it yields {sorted(packed)}')
    sample = packed['data_samples']
    pixels = to_numpy(packed['inputs']).transpose(1, 2, 0)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    image = np.clip(pixels, 0, 255).astype(np.uint8)[..., ::-1]
    scale = cell / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(np.ascontiguousarray(image), size, interpolation=method)
    mask = sample.get('ignored_mask')
    if mask is not None:
        size = image.shape[1], image.shape[0]
        shown = cv2.resize(to_numpy(mask).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        image = np.where(shown[..., None] > 0, (image + np.array(_IGNORED)) // 2, image)
        image = image.astype(np.uint8)
    ignored = sample.get('ignored_instances')
    if ignored is not None and 'bboxes' in ignored:
        boxes = to_numpy(ignored.bboxes) * scale
        image = draw_boxes(image, boxes, colours=_IGNORED, thickness=1)
    instances = sample.get('gt_instances')
    if instances is not None and 'bboxes' in instances:
        labels = to_numpy(instances.labels)
        palette = make_palette(max(len(classes or ()), 80))
        texts = label_texts(labels, classes)
        if 'weights' in instances:
            weights = to_numpy(instances.weights).tolist()
            texts = [t if w == 1 else f'{t} x{w:g}' for t, w in zip(texts, weights)]
        if 'keypoints' in instances:
            image = draw_skeletons(
                image,
                to_numpy(instances.keypoints) * scale,
                to_numpy(instances.keypoints_visible),
            )
        image = draw_boxes(
            image,
            to_numpy(instances.bboxes) * scale,
            texts=texts,
            colours=[palette[label % len(palette)] for label in labels.tolist()],
            thickness=1,
            text_height=7,
        )
    tile = np.full((image.shape[0] + _TITLE, image.shape[1], 3), _PAPER, np.uint8)
    tile[_TITLE:] = image
    name = Path(str(sample.get('img_path') or sample.get('img_id'))).name
    height, width = packed['inputs'].shape[-2:]
    write(tile, f'{name[-24:]} {width} x {height}', (0, 1), (_PAPER,) * 3, 8)
    return tile


def _fill(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    below, right = height - tile.shape[0], width - tile.shape[1]
    return np.pad(
        tile, ((_GAP, below), (_GAP // 2, right + _GAP // 2), (0, 0)), constant_values=_PAPER
    )
