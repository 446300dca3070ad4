"""Reads predictions and annotations out of data samples, as NumPy arrays."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

from ..errors import DataError


def predictions_of(sample: Mapping | Any) -> dict[str, Any]:
    """``img_id, img_path, bboxes (k, 4), scores (k,), labels (k,)`` of a sample or its dict.

    ``img_path`` is None where the sample has none.
    """
    pred = _get(sample, 'pred_instances')
    if pred is None:
        raise DataError('expected data samples with pred_instances, got one without')
    image = _get(sample, 'img_id')
    if image is None:
        raise DataError("a data sample has no 'img_id': add it to the meta_keys of PackDetInputs")
    return dict(
        img_id=image,
        img_path=_get(sample, 'img_path'),
        bboxes=to_numpy(_get(pred, 'bboxes')).astype(np.float64).reshape(-1, 4),
        scores=to_numpy(_get(pred, 'scores')).astype(np.float64).reshape(-1),
        labels=to_numpy(_get(pred, 'labels')).astype(np.int64).reshape(-1),
    )


def annotations_of(sample: Mapping | Any) -> dict[str, np.ndarray]:
    """``gt_bboxes, gt_labels, ignored_bboxes, ignored_labels`` in original pixels.

    The label of an ignore region without one is -1.
    """
    result = {}
    for field, name in (('gt_instances', 'gt'), ('ignored_instances', 'ignored')):
        instances = _get(sample, field)
        boxes = np.zeros((0, 4)) if instances is None else to_numpy(_get(instances, 'bboxes'))
        labels = None if instances is None else _get(instances, 'labels')
        if labels is None:
            labels = np.full(len(boxes), -1)
        result[f'{name}_bboxes'] = to_original(boxes.astype(np.float64).reshape(-1, 4), sample)
        result[f'{name}_labels'] = to_numpy(labels).astype(np.int64)
    return result


def persons_of(sample: Mapping | Any) -> dict[str, np.ndarray] | None:
    """Joints of a sample or its dict in original pixels; None where it has none.

    Returns:
        ``pred_keypoints (k, V, 2)``, ``pred_seen (k, V)``, ``gt_keypoints (n, V, 2)``,
        ``gt_seen (n, V)``, above 0 where a joint was found, or is labelled.
    """
    pred, gt = _get(sample, 'pred_instances'), _get(sample, 'gt_instances')
    if pred is None or gt is None:
        return None
    points, annotated = _get(pred, 'keypoints'), _get(gt, 'keypoints')
    if points is None or annotated is None:
        return None
    joints = to_numpy(annotated).astype(np.float64)
    # A point is a box without sides.
    boxes = to_original(np.tile(joints.reshape(-1, 2), 2), sample)
    return dict(
        pred_keypoints=to_numpy(points).astype(np.float64),
        pred_seen=to_numpy(_get(pred, 'keypoint_scores')),
        gt_keypoints=boxes[:, :2].reshape(joints.shape),
        gt_seen=to_numpy(_get(gt, 'keypoints_visible')),
    )


def one_each(results: Sequence[dict]) -> list[dict]:
    """The results of each image once: the padding of the last batches can bring one twice.

    Images of one id but other files (of data sets put together) are different images,
    and number ``img_id`` apart.
    """
    first = {(r['img_id'], r['img_path']): r for r in reversed(results)}
    unique = [first[key] for key in dict.fromkeys((r['img_id'], r['img_path']) for r in results)]
    if len({r['img_id'] for r in unique}) == len(unique):
        return unique
    return [{**r, 'img_id': (r['img_id'], r['img_path'])} for r in unique]


def usable(results: Sequence[dict], num_classes: int) -> list[dict]:
    """Results without the predictions whose box or score is not finite, which are counted.

    Raises:
        DataError: If a label is none of the classes'.
    """
    cleaned, broken = [], 0
    for result in results:
        labels = result['labels']
        if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
            wrong = sorted({int(v) for v in labels if not 0 <= v < num_classes})
            raise DataError(
                f'image {result["img_id"]}: predicted labels {wrong[:5]}, but the data set has '
                f"{num_classes} classes; do the model's num_classes and metainfo agree?"
            )
        finite = np.isfinite(result['bboxes']).all(1) & np.isfinite(result['scores'])
        broken += int((~finite).sum())
        kept = {key: result[key][finite] for key in ('bboxes', 'scores', 'labels')}
        cleaned.append({**result, **kept})
    if broken:
        text = f'{broken} predictions have a box or score that is not finite; they are left out'
        print_log(text, 'current', logging.WARNING)
    return cleaned


def to_original(boxes: np.ndarray, sample: Mapping | Any) -> np.ndarray:
    """Boxes ``(n, 4)`` from input pixels to those of the original image.

    Undoes, in this order, a flip, the border of a letterbox and the scale.
    """
    boxes = boxes.copy()
    if _get(sample, 'flip'):
        height, width = _get(sample, 'img_shape')[:2]
        direction = _get(sample, 'flip_direction')
        if direction in ('horizontal', 'diagonal'):
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        if direction in ('vertical', 'diagonal'):
            boxes[:, [1, 3]] = height - boxes[:, [3, 1]]
    top, _, left, _ = _get(sample, 'pad_param') or (0, 0, 0, 0)
    scale = np.asarray(_get(sample, 'scale_factor') or (1.0, 1.0), np.float64)[:2]
    return (boxes - [left, top, left, top]) / np.tile(scale, 2)


def to_numpy(value: Any) -> np.ndarray:
    """An array out of a tensor on any device, a list or an array."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy()
    return np.asarray(value)


def _get(source: Mapping | Any, key: str) -> Any:
    if isinstance(source, Mapping):
        return source.get(key)
    return source.get(key, None) if hasattr(source, 'get') else getattr(source, key, None)
