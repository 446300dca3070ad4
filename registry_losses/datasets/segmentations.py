"""Segmentations of a COCO json: checked where they are read, decoded where they are used."""

from __future__ import annotations

import math
from typing import Any

from .problems import Problems
from .values import is_number


def read_segmentation(value: Any, image: dict, problems: Problems, ids: dict) -> Any:
    """Polygons or a run-length code of the image's size; None where there is nothing.

    Args:
        value: ``[[x, y, x, y, ...], ...]`` or ``dict(size=[h, w], counts=...)``, the counts a
            list of numbers or COCO's compressed text.
        image: Its ``height`` and ``width``.
        problems: Raises, with the file's name.
        ids: Of the image and the annotation.
    """
    if not value:
        return None
    if isinstance(value, dict):
        size, counts = value.get('size'), value.get('counts')
        expected = [image['height'], image['width']]
        if size != expected:
            raise problems.fail(
                f'segmentation: expected the size {expected} (height, width) of the image, '
                f'got {size!r}',
                **ids,
            )
        if isinstance(counts, str) and counts:
            return dict(size=size, counts=counts)
        if not isinstance(counts, list) or not all(is_number(n) and n >= 0 for n in counts):
            raise problems.fail(
                f'segmentation: expected counts as a list or compressed text, got {counts!r:.80}',
                **ids,
            )
        if sum(counts) != expected[0] * expected[1]:
            raise problems.fail(
                f'segmentation: expected counts of {expected[0] * expected[1]} pixels in all, '
                f'got {sum(counts)}',
                **ids,
            )
        return dict(size=size, counts=[int(n) for n in counts])
    if not isinstance(value, list) or not all(map(_is_polygon, value)):
        raise problems.fail(
            'segmentation: expected polygons, lists x, y, x, y ... of at least three points, or '
            f'a run-length code, got {value!r:.80}',
            **ids,
        )
    return value


def _is_polygon(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= 6
        and len(value) % 2 == 0
        and all(is_number(v) and math.isfinite(v) for v in value)
    )
