"""Writes the digits data set once; see :mod:`.drawn_once`."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError
from .digits_render import VERSION, DigitsSpec, draw_image, load_samples
from .drawn_once import STAMP, draw_once, holds, progress_bar, sync
from .metainfo import DIGIT_CLASSES

__all__ = ['STAMP', 'is_current', 'prepare_digits']


def prepare_digits(
    data_root: str | os.PathLike, spec: DigitsSpec | None = None, *, progress: bool = True
) -> bool:
    """Make sure that ``data_root`` holds the digits of ``spec``.

    Args:
        data_root: The folder; its parent is created.
        spec: What to draw. Defaults to ``DigitsSpec()``.
        progress: Show a progress bar (a line at the end where there is no terminal).

    Returns:
        Whether the images were drawn now (False: they were there already).

    Raises:
        DataError: If the folder holds something that this function did not write.
    """
    spec = spec or DigitsSpec()
    return draw_once(data_root, _stamp(spec), partial(_write_all, spec=spec, progress=progress))


def is_current(root: str | os.PathLike, spec: DigitsSpec) -> bool:
    """Whether ``root`` holds exactly the digits of ``spec`` by this version."""
    return holds(root, _stamp(spec))


def _stamp(spec: DigitsSpec) -> dict:
    return {'data': 'digits', 'version': VERSION, **asdict(spec)}


def _write_all(folder: Path, *, spec: DigitsSpec, progress: bool) -> None:
    load_samples()  # fail here, with its own message, not in a thread
    (folder / 'annotations').mkdir()
    counts = {'train': spec.num_train, 'val': spec.num_val}
    text = f'drawing digits in {folder.parent}'
    with progress_bar(sum(counts.values()), text, progress) as advance:
        for split, count in counts.items():
            (folder / split).mkdir()
            _write_split(folder, spec, split, count, advance)


def _write_split(folder: Path, spec: DigitsSpec, split: str, count: int, advance) -> None:
    images: list[dict] = []
    annotations: list[dict] = []
    draw = partial(_write_image, folder / split, spec, split)
    # OpenCV and NumPy's generators leave the interpreter lock, so threads share the work.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for index, (name, boxes, labels) in enumerate(pool.map(draw, range(count))):
            images.append(
                dict(id=index, file_name=name, width=spec.image_size, height=spec.image_size)
            )
            for box, label in zip(boxes, labels):
                annotations.append(_annotation(len(annotations) + 1, index, box, int(label)))
            advance()
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(DIGIT_CLASSES)]
    path = folder / 'annotations' / f'{split}.json'
    content = dict(images=images, annotations=annotations, categories=categories)
    path.write_text(json.dumps(content))
    sync(path)


def _write_image(
    folder: Path, spec: DigitsSpec, split: str, index: int
) -> tuple[str, np.ndarray, np.ndarray]:
    drawn = draw_image(spec, split, index)
    name = f'{index:06d}.png'
    # OpenCV writes BGR.
    done = cv2.imwrite(str(folder / name), drawn.image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 4])
    if not done:
        raise DataError(f'could not write {folder / name}; is the disk full?')
    return name, drawn.boxes, drawn.labels


def _annotation(number: int, image: int, box: np.ndarray, label: int) -> dict:
    x1, y1, x2, y2 = (round(float(v), 2) for v in box)
    width, height = round(x2 - x1, 2), round(y2 - y1, 2)
    return dict(
        id=number,
        image_id=image,
        category_id=label + 1,
        bbox=[x1, y1, width, height],
        area=round(width * height, 2),
        iscrowd=0,
    )
