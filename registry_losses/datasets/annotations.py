"""What the readers of annotation files share: boxes, flags, repetitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .problems import Problems
from .values import read_flag


def read_value(
    key: str, value: Any, reader: Callable, problems: Problems, ids: dict, *, of: str = ''
) -> Any:
    """A value by one of the readers of ``values``; its error names file, ids and key."""
    try:
        return reader(value)
    except ValueError as error:
        raise problems.fail(f'{of + ", " if of else ""}{key}: {error}', **ids) from error


def read_flag_of(ann: Mapping, key: str, problems: Problems, ids: dict) -> bool:
    """The flag ``key`` of an annotation, False where there is none; see :func:`read_flag`."""
    if key not in ann:
        return False
    flag, otherwise = read_value(key, ann[key], read_flag, problems, ids)
    if otherwise:
        problems.change(f'with {key}={ann[key]!r}, read as {int(flag)}', **ids)
    return flag


def check_box(
    xywh: Sequence[float], width: int, height: int, problems: Problems, ids: dict[str, Any]
) -> list[float] | None:
    """The box as xyxy clipped to the image, or None when it has to be dropped."""
    try:
        x, y, w, h = map(float, xywh)
    except OverflowError:  # a whole number of hundreds of digits
        x, y, w, h = (math.inf,) * 4
    detail = f'bbox (x, y, w, h) {list(xywh)}'
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(w) and math.isfinite(h)):
        problems.drop('with a box that is not finite', **ids, detail=detail)
        return None
    if w <= 0 or h <= 0:
        problems.drop('with a box of no area', **ids, detail=detail)
        return None
    x1, y1 = max(x, 0.0), max(y, 0.0)
    x2, y2 = min(x + w, float(width)), min(y + h, float(height))
    if x2 <= x1 or y2 <= y1:
        where = f'{detail}, image {width} x {height}'
        problems.drop('with a box outside the image', **ids, detail=where)
        return None
    # Many files round, so a box may pass the border by a pixel without being wrong.
    if x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:
        where = f'{detail}, image {width} x {height}'
        problems.change('clipped to the image', **ids, detail=where)
    return [x1, y1, x2, y2]


class Repeats:
    """Knows the objects seen so far: the same image, class, box and flags count once."""

    def __init__(self) -> None:
        self._seen: set = set()

    def is_new(self, image: Any, instance: Mapping, problems: Problems, ids: dict) -> bool:
        """Whether an object is met for the first time; a repetition is noted as dropped."""
        key = (image, repr(sorted(instance.items())))
        if key in self._seen:
            problems.drop('repeated word for word', **ids)
            return False
        self._seen.add(key)
        return True
