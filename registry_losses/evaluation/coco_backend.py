"""COCO's evaluation by whichever library is installed.

faster-coco-eval is asked first: the same figures as pycocotools in a fraction of the time.

Legend of the precision array: T IoU thresholds, R recall steps, K categories, A area
ranges (all, small, medium, large), D detection limits.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, MissingDependencyError

BACKENDS = {
    'faster-coco-eval': ('faster_coco_eval', 'COCO', 'COCOeval_faster'),
    'pycocotools': ('pycocotools', 'coco.COCO', 'cocoeval.COCOeval'),
}

AREAS = ('all', 's', 'm', 'l')


def load_backend(name: str = 'auto') -> tuple[type, type, str]:
    """The classes (COCO, COCOeval) and the name of the library they come from.

    Args:
        name: ``'auto'`` for the first that is installed, or one of :data:`BACKENDS`.

    Raises:
        ConfigError: On another name.
        MissingDependencyError: If it is not installed.
    """
    if name != 'auto' and name not in BACKENDS:
        raise ConfigError(f"backend: expected 'auto' or one of {list(BACKENDS)}, got {name!r}")
    for candidate in BACKENDS if name == 'auto' else [name]:
        module, coco, evaluate = BACKENDS[candidate]
        with contextlib.suppress(ImportError):
            return _find(module, coco), _find(module, evaluate), candidate
    wanted = 'faster-coco-eval (or pycocotools)' if name == 'auto' else name
    raise MissingDependencyError(
        f'COCO AP needs {wanted}, which is not installed: pip install {wanted.split()[0]}'
    )


def _find(module: str, path: str) -> type:
    *inner, attribute = path.split('.')
    return getattr(importlib.import_module('.'.join([module, *inner])), attribute)


def evaluate_boxes(
    gt: dict,
    detections: Sequence[dict],
    *,
    image_ids: Sequence,
    category_ids: Sequence,
    max_dets: Sequence[int] = (1, 10, 100),
    iou_thresholds: Sequence[float] | None = None,
    backend: str = 'auto',
) -> tuple[np.ndarray, np.ndarray]:
    """Precision ``(T, R, K, A, D)`` and recall ``(T, K, A, D)``; -1 where there is no gt.

    Args:
        gt: A COCO content: images, annotations, categories. Identifiers may be anything
            that can be compared: the libraries see numbers of our own.
        detections: COCO results: image_id, category_id, bbox xywh, score.
        image_ids: Images to evaluate on.
        category_ids: Categories to evaluate, which fixes their order in K.
        max_dets: Detections counted an image and category.
        iou_thresholds: Default: 0.5, 0.55 ... 0.95.
        backend: See :func:`load_backend`.
    """
    coco_class, eval_class, _ = load_backend(backend)
    image_numbers, category_numbers = numbers(image_ids), numbers(category_ids)
    gt = renumber(gt, image_numbers, category_numbers)
    found = renumber({'annotations': detections}, image_numbers, category_numbers)
    # pycocotools prints to stdout at every step.
    with contextlib.redirect_stdout(io.StringIO()):
        coco_gt = _index(coco_class, gt)
        coco_dt = _index(coco_class, {**gt, 'annotations': _as_annotations(found['annotations'])})
        evaluator = eval_class(coco_gt, coco_dt, 'bbox')
        evaluator.params.imgIds = list(image_numbers.values())
        evaluator.params.catIds = list(category_numbers.values())
        evaluator.params.maxDets = list(max_dets)
        if iou_thresholds is not None:
            evaluator.params.iouThrs = np.asarray(iou_thresholds, np.float64)
        evaluator.evaluate()
        evaluator.accumulate()
    return np.asarray(evaluator.eval['precision']), np.asarray(evaluator.eval['recall'])


def numbers(ids: Sequence) -> dict[Any, int]:
    """1, 2, 3 ... for identifiers in their order, once each.

    The libraries keep identifiers in integer and float arrays and mark a detection
    without a match by 0, so that ids of 0, repeated, negative, huge or text ones change
    AP or end in an error. None from a file is ever passed on to them.

    Example:
        >>> numbers(['b', 'a', 'b', 0])
        {'b': 1, 'a': 2, 0: 3}
    """
    return {key: number for number, key in enumerate(dict.fromkeys(ids), 1)}


def renumber(content: dict, images: Mapping[Any, int], categories: Mapping[Any, int]) -> dict:
    """A COCO content, or its annotations alone, of some images and categories, ids anew."""
    annotations = (
        a
        for a in content['annotations']
        if a['image_id'] in images and a['category_id'] in categories
    )
    return dict(
        images=[dict(id=number) for number in images.values()],
        categories=[dict(id=number, name=str(key)) for key, number in categories.items()],
        annotations=[
            {
                **a,
                'id': number,
                'image_id': images[a['image_id']],
                'category_id': categories[a['category_id']],
            }
            for number, a in enumerate(annotations, 1)
        ],
    )


def _index(coco_class: type, content: dict):
    coco = coco_class()
    coco.dataset = content
    coco.createIndex()
    return coco


def _as_annotations(detections: Sequence[dict]) -> list[dict]:
    """What the libraries' own loader makes of results, without the polygons it adds."""
    return [
        {**d, 'id': i + 1, 'area': d['bbox'][2] * d['bbox'][3], 'iscrowd': 0}
        for i, d in enumerate(detections)
    ]


def mean_defined(values: np.ndarray) -> float:
    """The mean of the entries above -1; NaN (undefined) where there are none.

    Example:
        >>> mean_defined(np.array([0.5, -1, 1.0]))
        0.75
    """
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else float('nan')
