"""Writes the digits data set once; see :mod:`.drawn_once`."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from .digits_render import VERSION, DigitsSpec, draw_image, load_samples
from .drawn_once import STAMP, Drawn, draw_once, holds, write_splits
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
    write_splits(
        folder,
        {'train': spec.num_train, 'val': spec.num_val},
        partial(_draw, spec),
        [dict(id=i + 1, name=name) for i, name in enumerate(DIGIT_CLASSES)],
        text=f'drawing digits in {folder.parent}',
        progress=progress,
    )


def _draw(spec: DigitsSpec, split: str, index: int) -> Drawn:
    drawn = draw_image(spec, split, index)
    pairs = zip(drawn.boxes, drawn.labels, strict=True)
    return drawn.image, [_annotation(box, int(label)) for box, label in pairs]


def _annotation(box: np.ndarray, label: int) -> dict:
    x1, y1, x2, y2 = (round(float(v), 2) for v in box)
    width, height = round(x2 - x1, 2), round(y2 - y1, 2)
    return dict(
        category_id=label + 1,
        bbox=[x1, y1, width, height],
        area=round(width * height, 2),
        iscrowd=0,
    )
