"""Reads a COCO json into plain lists, checking it on the way.

Boxes are xywh in the file and xyxy, clipped to the image, in the result.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine import fileio

from ..errors import DataError
from .annotations import Repeats, check_box, read_flag_of, read_value
from .class_names import Missing, log_skipped, match_classes
from .problems import Problems
from .segmentations import read_segmentation
from .values import Ids, is_number, read_id, read_name, read_size, read_weight


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
    except RecursionError as error:
        raise DataError(f'{path}: no annotation file: lists in lists in lists') from error
    except json.JSONDecodeError as error:
        raise DataError(
            f'{path}: broken json at line {error.lineno}, column {error.colno}: {error.msg}; '
            'was the file cut off while it was written or downloaded?'
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f'{path}: {str(error).partition(";")[0]}') from error


@dataclass(frozen=True)
class CocoContent:
    """What a COCO json says, checked.

    Args:
        images: Each ``dict(img_id, file_name, height, width, instances)``, in file order.
        cat_ids: The file's category id of each label, None for a class that it lacks.
        total: Annotations in the file.
        problems: What was dropped or changed.
    """

    images: list[dict]
    cat_ids: list
    total: int
    problems: Problems


def read_coco(
    path: str,
    classes: Sequence[str],
    *,
    explicit_classes: bool,
    missing: Missing = 'error',
    strict: bool = False,
    num_keypoints: int | None = None,
    with_source: bool = False,
    with_regions: bool = False,
    backend_args: Mapping | None = None,
) -> CocoContent:
    """Read and check a COCO json: for a data set and for the metric alike.

    An instance has ``bbox`` (xyxy, pixels, clipped to the image), ``bbox_label``,
    ``ignore_flag`` (1 for ``iscrowd`` or ``ignore``) and, where annotated, ``weight``,
    ``keypoints`` and ``keypoints_visible``.

    Args:
        path: The json file.
        classes: Names that become the labels 0, 1, ... in this order.
        explicit_classes: The user chose ``classes``; then a file with further
            categories is read as a subset, else those are an error.
        missing: See :func:`match_classes`.
        strict: Raise where an annotation would be dropped.
        num_keypoints: Keypoints an object must have. None: whatever the category says.
        with_source: Instances keep the file's own annotation, as ``source``.
        with_regions: Ignored instances and those without a joint keep their
            ``segmentation``.
        backend_args: Passed to ``mmengine.fileio``.

    Raises:
        DataError: With the file, image id, annotation id and key.
    """
    problems = Problems(path, strict=strict)
    content = load_json(path, backend_args=backend_args)
    _check_top(content, problems)
    categories = _categories(content['categories'], problems)
    label_of = match_classes(
        (c['name'] for c in categories.values()),
        classes,
        path=path,
        explicit=explicit_classes,
        missing=missing,
    )
    images = _images(content['images'], problems)
    image_ids, category_ids = Ids(images), Ids(categories)
    annotations = content.get('annotations', [])
    skipped: Counter[str] = Counter()
    seen: dict[Any, dict] = {}
    repeated = Repeats()
    for ann in annotations:
        ids = _annotation_ids(ann, problems)
        category = _refer('category_id', ann, category_ids, problems, ids)
        if category is None:
            raise problems.fail(
                f'unknown category id {ann["category_id"]!r}; the file defines '
                f'{sorted(categories, key=str)[:90]}',
                **ids,
            )
        image_id = _refer('image_id', ann, image_ids, problems, ids)
        if image_id is None:
            problems.drop('of an image that the file does not list', **ids)
            continue
        name = categories[category]['name']
        if name not in label_of:
            skipped[name] += 1
            continue
        image = images[image_id]
        expected = num_keypoints or len(categories[category].get('keypoints') or ()) or None
        instance = _instance(ann, image, label_of[name], problems, expected)
        if instance is not None and repeated.is_new(image_id, instance, problems, ids):
            _check_id(ann, seen, problems, ids)
            if with_source:
                instance['source'] = ann
            if with_regions:
                _keep_region(instance, ann, image, problems, ids)
            image['instances'].append(instance)
    problems.log(len(annotations))
    log_skipped(path, skipped, len(annotations))
    cat_of = {label_of[c['name']]: i for i, c in categories.items() if c['name'] in label_of}
    return CocoContent(
        images=list(images.values()),
        cat_ids=[cat_of.get(label) for label in range(len(classes))],
        total=len(annotations),
        problems=problems,
    )


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


def _categories(categories: list, problems: Problems) -> dict[Any, dict]:
    """Id -> category, with its name as text without blanks around it."""
    found: dict[Any, dict] = {}
    names: set[str] = set()
    for category in categories:
        if not isinstance(category, dict) or not {'id', 'name'} <= set(category):
            raise problems.fail(f'expected categories with id and name, got {category!r}')
        number = read_value(
            'id', category['id'], read_id, problems, {}, of=f'category {category!r}'
        )
        name = category['name']
        if is_number(name) and (isinstance(name, int) or name.is_integer()):
            name = str(int(name))  # digits, written as numbers
        name = read_value('name', name, read_name, problems, {}, of=f'category {category!r}')
        name = name.strip()
        if number in found or name in names:
            raise problems.fail(f'duplicate category {number!r} {name!r}')
        names.add(name)
        found[number] = {**category, 'name': name}
    return found


def _images(images: list, problems: Problems) -> dict[Any, dict]:
    result: dict[Any, dict] = {}
    for image in images:
        if not isinstance(image, dict) or not {'id', 'file_name'} <= set(image):
            raise problems.fail(f'expected images with id and file_name, got {image!r}')
        number = read_value('id', image['id'], read_id, problems, {}, of=f'image {image!r}')
        ids = dict(image=number)
        name = read_value('file_name', image['file_name'], read_name, problems, ids)
        if number in result:
            raise problems.fail(
                f'duplicate image id (files {result[number]["file_name"]!r} and {name!r})',
                image=number,
            )
        try:
            height, width = read_size(image.get('height')), read_size(image.get('width'))
        except ValueError as error:
            raise problems.fail(
                f'expected a positive height and width, got {image.get("height")!r} and '
                f'{image.get("width")!r}',
                image=number,
            ) from error
        result[number] = dict(
            img_id=number, file_name=name, height=height, width=width, instances=[]
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


def _refer(key: str, ann: dict, known: Ids, problems: Problems, ids: dict) -> Any:
    """The image or category that an annotation means, or None."""
    found, otherwise = known.find(ann[key])
    if otherwise:
        problems.change(f'with {key} as text or number, read as the other', **ids)
    return found


def _check_id(ann: dict, seen: dict[Any, dict], problems: Problems, ids: dict) -> None:
    """Note an id that an earlier annotation bears: both are kept, ids are not used."""
    if 'id' not in ann:
        return
    first = seen.setdefault(str(ann['id']), ann)
    if first is not ann:
        detail = f'(first seen in image {first["image_id"]})'
        problems.change('with the id of another annotation', **ids, detail=detail)


def _instance(
    ann: dict, image: dict, label: int, problems: Problems, expected: int | None
) -> dict | None:
    ids = dict(image=image['img_id'], annotation=ann.get('id'))
    box = ann['bbox']
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise problems.fail(f'bbox: expected four numbers x, y, w, h, got {box!r}', **ids)
    xyxy = check_box(box, image['width'], image['height'], problems, ids)
    if xyxy is None:
        return None
    ignored = [read_flag_of(ann, key, problems, ids) for key in ('iscrowd', 'ignore')]
    instance: dict[str, Any] = dict(bbox=xyxy, bbox_label=label, ignore_flag=int(any(ignored)))
    if 'weight' in ann:
        instance['weight'] = read_value('weight', ann['weight'], read_weight, problems, ids)
    if ann.get('keypoints'):
        instance['keypoints'], instance['keypoints_visible'] = _keypoints(
            ann['keypoints'], expected, problems, ids
        )
    return instance


def _keep_region(instance: dict, ann: dict, image: dict, problems: Problems, ids: dict) -> None:
    """The segmentation of what nobody annotated: a crowd, a person without a joint."""
    if instance['ignore_flag'] or not any(v > 0 for v in instance.get('keypoints_visible', ())):
        region = read_segmentation(ann.get('segmentation'), image, problems, ids)
        if region is not None:
            instance['segmentation'] = region


def _keypoints(
    flat: Any, expected: int | None, problems: Problems, ids: dict[str, Any]
) -> tuple[list[list[float]], list[int]]:
    if (
        not isinstance(flat, list)
        or len(flat) % 3
        or (expected is not None and len(flat) != 3 * expected)
        or not all(is_number(v) and math.isfinite(v) for v in flat)
    ):
        wanted = f'3 x {expected}' if expected else 'a multiple of 3'
        raise problems.fail(
            f'keypoints: expected {wanted} finite numbers (x, y, v), got '
            f'{len(flat) if isinstance(flat, list) else flat!r}',
            **ids,
        )
    points = [[float(flat[i]), float(flat[i + 1])] for i in range(0, len(flat), 3)]
    return points, [int(v) for v in flat[2::3]]
