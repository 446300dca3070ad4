"""Reads a COCO json into plain lists, checking it on the way.

Boxes are xywh in the file and xyxy, clipped to the image, in the result.
"""

from __future__ import annotations

import difflib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine import fileio
from mmengine.logging import print_log

from ..errors import DataError
from .problems import Problems


def load_json(path: str, *, backend_args: Mapping | None = None) -> Any:
    """Parse a json file; a missing or broken one raises with its name and the position."""
    if '://' not in path and not Path(path).is_file():
        raise DataError(
            f'annotation file not found: {path} (absolute: {Path(path).absolute()}); '
            'check ann_file and data_root'
        )
    try:
        return json.loads(fileio.get(path, backend_args=dict(backend_args or {}) or None))
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: expected UTF-8 json, got bytes that are not: {error}') from error
    except json.JSONDecodeError as error:
        raise DataError(
            f'{path}: broken json at line {error.lineno}, column {error.colno}: {error.msg}; '
            'was the file cut off while it was written or downloaded?'
        ) from error


def read_coco(
    path: str,
    classes: Sequence[str],
    *,
    explicit_classes: bool,
    strict: bool = False,
    num_keypoints: int | None = None,
    backend_args: Mapping | None = None,
) -> tuple[list[dict], dict[str, Any]]:
    """Read and check a COCO json.

    Args:
        path: The json file.
        classes: Names that become the labels 0, 1, ... in this order.
        explicit_classes: The user chose ``classes``; then a file with further
            categories is read as a subset, else those are an error.
        strict: Raise where an annotation would be dropped.
        num_keypoints: Keypoints an object must have. None: whatever the category says.
        backend_args: Passed to ``mmengine.fileio``.

    Returns:
        The images, each ``dict(img_id, file_name, height, width, instances)``, in file
        order, and ``dict(cat_ids=..., total=..., problems=...)``.

    Raises:
        DataError: With the file, image id and annotation id.
    """
    problems = Problems(path, strict=strict)
    content = load_json(path, backend_args=backend_args)
    _check_top(content, problems)
    names = _categories(content['categories'], problems)
    label_of = match_categories(names, classes, problems, explicit=explicit_classes)
    images = _images(content['images'], problems)
    skipped = 0
    seen: dict[Any, dict] = {}
    skeletons = {c['id']: len(c['keypoints']) for c in content['categories'] if c.get('keypoints')}
    for ann in content.get('annotations', ()):
        ids = _annotation_ids(ann, problems)
        if not _is_new(ann, seen, problems, ids):
            continue
        if ann['category_id'] not in names:
            raise problems.fail(
                f'unknown category id {ann["category_id"]!r}; the file defines '
                f'{sorted(names, key=str)[:90]}',
                **ids,
            )
        image = images.get(ann['image_id'])
        if image is None:
            problems.drop('of an image that the file does not list', **ids)
        elif ann['category_id'] not in label_of:
            skipped += 1
        else:
            expected = num_keypoints or skeletons.get(ann['category_id'])
            instance = _instance(ann, image, label_of, problems, expected)
            if instance is not None:
                image['instances'].append(instance)
    total = len(content.get('annotations', ()))
    problems.log(total)
    if skipped:
        print_log(
            f'{path}: {skipped} of {total} annotations belong to categories outside `classes`',
            logger='current',
            level=logging.INFO,
        )
    cat_of = {label: cat for cat, label in label_of.items()}
    info = dict(cat_ids=[cat_of.get(i) for i in range(len(classes))], total=total)
    return list(images.values()), {**info, 'problems': problems}


def match_categories(
    names: Mapping[Any, str], classes: Sequence[str], problems: Problems, *, explicit: bool
) -> dict[Any, int]:
    """Category id -> label, by name.

    A category that is not among ``classes`` is skipped when the user chose the classes
    and the file has all of them (a subset), and an error otherwise: then it is as
    likely a misspelling as a choice.
    """
    label_of = {name: i for i, name in enumerate(classes)}
    unknown = [name for name in names.values() if name not in label_of]
    missing = [name for name in classes if name not in set(names.values())]
    if unknown and (missing or not explicit):
        hints = '; '.join(_nearest(name, classes) for name in unknown[:5])
        raise problems.fail(
            f'{len(unknown)} categories of the file are not among the {len(classes)} classes: '
            f'{hints}. If the file has its own label set, or you want some of its categories '
            f'only, give metainfo=dict(classes=(...)) out of {tuple(names.values())[:20]}'
            + (f'; classes missing from the file: {missing[:10]}' if explicit and missing else '')
        )
    if missing and explicit:
        print_log(f'{problems.path}: no category named {missing[:10]}', 'current', logging.WARNING)
    return {cat: label_of[name] for cat, name in names.items() if name in label_of}


def _nearest(name: str, classes: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, classes, n=3, cutoff=0.5)
    return f'{name!r} (nearest: {", ".join(map(repr, near)) if near else "none"})'


def _check_top(content: Any, problems: Problems) -> None:
    if not isinstance(content, dict):
        raise problems.fail(
            f'expected a json object with images, annotations and categories, '
            f'got a {type(content).__name__}'
            + (' (is it a file of detection results?)' if isinstance(content, list) else '')
        )
    for key in ('images', 'categories'):
        if not isinstance(content.get(key), list):
            raise problems.fail(f'expected the list {key!r}, got the keys {sorted(content)}')
    if not isinstance(content.get('annotations', []), list):
        raise problems.fail("expected 'annotations' to be a list")


def _categories(categories: list, problems: Problems) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for category in categories:
        if not isinstance(category, dict) or not {'id', 'name'} <= set(category):
            raise problems.fail(f'expected categories with id and name, got {category!r}')
        if category['id'] in names or category['name'] in names.values():
            raise problems.fail(f'duplicate category {category["id"]!r} {category["name"]!r}')
        names[category['id']] = category['name']
    return names


def _images(images: list, problems: Problems) -> dict[Any, dict]:
    result: dict[Any, dict] = {}
    for image in images:
        if not isinstance(image, dict) or not {'id', 'file_name'} <= set(image):
            raise problems.fail(f'expected images with id and file_name, got {image!r}')
        if image['id'] in result:
            raise problems.fail(
                f'duplicate image id (files {result[image["id"]]["file_name"]!r} '
                f'and {image["file_name"]!r})',
                image=image['id'],
            )
        size: tuple[Any, Any] = (image.get('height'), image.get('width'))
        if not all(_is_number(s) and s > 0 for s in size):
            raise problems.fail(
                f'expected a positive height and width, got {size[0]!r} and {size[1]!r}',
                image=image['id'],
            )
        result[image['id']] = dict(
            img_id=image['id'],
            file_name=image['file_name'],
            height=int(size[0]),
            width=int(size[1]),
            instances=[],
        )
    return result


def _annotation_ids(ann: Any, problems: Problems) -> dict[str, Any]:
    if not isinstance(ann, dict):
        raise problems.fail(f'expected annotations to be objects, got {ann!r}')
    ids = dict(image=ann.get('image_id'), annotation=ann.get('id'))
    for key in ('image_id', 'category_id', 'bbox'):
        if key not in ann:
            raise problems.fail(f'the annotation has no {key!r}; it has {sorted(ann)}', **ids)
    return ids


def _is_new(ann: dict, seen: dict[Any, dict], problems: Problems, ids: dict) -> bool:
    """Whether this is not an exact copy; another annotation of the same id is kept."""
    if 'id' not in ann:
        return True
    first = seen.setdefault(ann['id'], ann)
    if first is ann:
        return True
    if first == ann:
        problems.drop('repeated word for word', **ids)
        return False
    detail = f'(first seen in image {first["image_id"]})'
    problems.change('with the id of another annotation', **ids, detail=detail)
    return True


def _instance(
    ann: dict, image: dict, label_of: Mapping[Any, int], problems: Problems, expected: int | None
) -> dict | None:
    ids = dict(image=ann['image_id'], annotation=ann.get('id'))
    box = ann['bbox']
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise problems.fail(f'bbox: expected four numbers x, y, w, h, got {box!r}', **ids)
    xyxy = check_box(box, image['width'], image['height'], problems, ids)
    if xyxy is None:
        return None
    instance = dict(
        bbox=xyxy,
        bbox_label=label_of[ann['category_id']],
        ignore_flag=int(bool(ann.get('iscrowd', 0))),
    )
    if ann.get('keypoints'):
        instance['keypoints'], instance['keypoints_visible'] = _keypoints(
            ann['keypoints'], expected, problems, ids
        )
    return instance


def check_box(
    xywh: Sequence[float], width: int, height: int, problems: Problems, ids: dict[str, Any]
) -> list[float] | None:
    """The box as xyxy clipped to the image, or None when it has to be dropped."""
    x, y, w, h = map(float, xywh)
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


def _keypoints(
    flat: Any, expected: int | None, problems: Problems, ids: dict[str, Any]
) -> tuple[list[list[float]], list[int]]:
    if (
        not isinstance(flat, list)
        or len(flat) % 3
        or (expected is not None and len(flat) != 3 * expected)
        or not all(_is_number(v) and math.isfinite(v) for v in flat)
    ):
        wanted = f'3 x {expected}' if expected else 'a multiple of 3'
        raise problems.fail(
            f'keypoints: expected {wanted} finite numbers (x, y, v), got '
            f'{len(flat) if isinstance(flat, list) else flat!r}',
            **ids,
        )
    points = [[float(flat[i]), float(flat[i + 1])] for i in range(0, len(flat), 3)]
    return points, [int(v) for v in flat[2::3]]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
