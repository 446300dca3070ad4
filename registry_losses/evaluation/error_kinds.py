"""Why average precision is not 1: errors by kind, and what mending each would bring.

Shapes: k predictions of all images, n gts, C classes.

Source: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV
2020. Deviations: AP is the area under the curve (theirs interpolates at 101
recalls), and predictions on ignore regions are left out before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from ..ops import bbox_overlaps
from .voc_metric import average_precision

KINDS = ('class', 'location', 'both', 'duplicate', 'background')
"""Of false alarms. With a gt of another class overlapping as asked; of its own class, too
little; of another class, too little; of its own class, which a better one took; with none."""


@dataclass(frozen=True, eq=False)
class Matched:
    """Predictions of all images beside the gts.

    Args:
        scores: ``(k,)``.
        labels: ``(k,)``.
        hit: ``(k,)`` bool.
        kind: ``(k,)`` index into :data:`KINDS`, -1 for hits.
        target: ``(k,)`` gt that a hit took, or that an error of class or location meant.
        image: ``(k,)`` place of the image.
        gt_labels: ``(n,)``.
        gt_found: ``(n,)`` bool.
        gt_boxes: ``(n, 4)`` pixels of the original image.
        gt_image: ``(n,)``.
    """

    scores: np.ndarray
    labels: np.ndarray
    hit: np.ndarray
    kind: np.ndarray
    target: np.ndarray
    image: np.ndarray
    gt_labels: np.ndarray
    gt_found: np.ndarray
    gt_boxes: np.ndarray
    gt_image: np.ndarray


def match_results(
    results: Sequence[dict], *, iou_thr: float = 0.5, background_thr: float = 0.1
) -> Matched:
    """Match by falling score and say of each false alarm which kind it is.

    Each prediction takes the free gt of its class that it overlaps most, by ``iou_thr`` at
    least. One that takes none, and of whose area half lies on an ignore region of its class,
    is left out.

    Args:
        results: ``predictions_of`` and ``annotations_of`` of each image.
        iou_thr: Overlap of a hit.
        background_thr: Less overlap with every gt is background.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in Matched.__dataclass_fields__}
    begin = 0
    for number, result in enumerate(results):
        order = np.argsort(-result['scores'], kind='stable')
        boxes, labels = result['bboxes'][order], result['labels'][order]
        gts, gt_labels = result['gt_bboxes'], result['gt_labels']
        overlaps = _iou(boxes, gts)
        same = labels[:, None] == gt_labels[None]
        hit, kind, target, found = _match_image(overlaps, same, iou_thr, background_thr)
        keep = hit | ~_on_ignored(boxes, labels, result)
        rows = dict(
            scores=result['scores'][order][keep],
            labels=labels[keep],
            hit=hit[keep],
            kind=kind[keep],
            target=np.where(target >= 0, target + begin, -1)[keep],
            image=np.full(int(keep.sum()), number),
            gt_labels=gt_labels,
            gt_found=found,
            gt_boxes=gts,
            gt_image=np.full(len(gts), number),
        )
        for name, value in rows.items():
            parts[name].append(value)
        begin += len(gts)
    return Matched(**{name: np.concatenate(values) for name, values in parts.items()})


def _iou(a: np.ndarray, b: np.ndarray, mode: Literal['iou', 'iof'] = 'iou') -> np.ndarray:
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    return bbox_overlaps(torch.from_numpy(a), torch.from_numpy(b), mode).numpy()


def _match_image(
    overlaps: np.ndarray, same: np.ndarray, iou_thr: float, background_thr: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """hit, kind, target of predictions by falling score, and which gts are found."""
    count, gts = overlaps.shape
    hit, found = np.zeros(count, bool), np.zeros(gts, bool)
    kind, target = np.full(count, KINDS.index('background')), np.full(count, -1)
    if not gts:
        return hit, kind, target, found
    own, other = np.where(same, overlaps, 0), np.where(same, 0, overlaps)
    for i in range(count):
        free = np.where(found, 0, own[i])
        best = int(free.argmax())
        if free[best] >= iou_thr:
            hit[i] = found[best] = True
            kind[i], target[i] = -1, best
        elif other[i].max() >= iou_thr and own[i].max() < iou_thr:
            kind[i], target[i] = KINDS.index('class'), int(other[i].argmax())
        elif own[i].max() >= iou_thr:
            kind[i] = KINDS.index('duplicate')
        elif own[i].max() >= background_thr:
            kind[i], target[i] = KINDS.index('location'), int(own[i].argmax())
        elif other[i].max() >= background_thr:
            kind[i] = KINDS.index('both')
    return hit, kind, target, found


def _on_ignored(boxes: np.ndarray, labels: np.ndarray, result: dict) -> np.ndarray:
    inside = _iou(boxes, result['ignored_bboxes'], 'iof') >= 0.5
    mine = result['ignored_labels'][None] == labels[:, None]
    return (inside & (mine | (result['ignored_labels'][None] == -1))).any(1)


def precision_recall(matched: Matched, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recall, precision and score of a class, by falling score."""
    mine = matched.labels == label
    order = np.argsort(-matched.scores[mine], kind='stable')
    true = np.cumsum(matched.hit[mine][order])
    total = max(int((matched.gt_labels == label).sum()), 1)
    precision = true / np.arange(1, len(true) + 1)
    return true / total, precision, matched.scores[mine][order]


def mean_ap(matched: Matched, num_classes: int) -> float:
    """Mean AP of the classes that have gts, by the area under the curve."""
    values = []
    for label in range(num_classes):
        if (matched.gt_labels == label).any():
            recall, precision, _ = precision_recall(matched, label)
            found = average_precision(recall, precision, mode='area') if len(recall) else 0.0
            values.append(found)
    return float(np.mean(values)) if values else float('nan')


def mended(matched: Matched, kind: str) -> Matched:
    """The predictions with every error of a kind put right.

    Of class and location: the prediction hits the gt it meant, unless that is found already;
    then it goes. Both, duplicates and background: it goes. ``'missed'``: gts that nothing
    found, nor meant by an error of class or location, go. ``'false alarms'``: all errors go.
    """
    if kind == 'false alarms':
        return _only(matched, matched.hit)
    if kind == 'missed':
        wanted = np.isin(matched.kind, (KINDS.index('class'), KINDS.index('location')))
        meant = np.zeros(len(matched.gt_found), bool)
        meant[matched.target[wanted]] = True
        keep = matched.gt_found | meant
        return replace(matched, gt_labels=matched.gt_labels[keep])
    wrong = matched.kind == KINDS.index(kind)
    if kind not in ('class', 'location'):
        return _only(matched, ~wrong)
    taken = matched.gt_found.copy()
    hit, labels, keep = matched.hit.copy(), matched.labels.copy(), ~wrong
    places = np.flatnonzero(wrong)
    for i in places[np.argsort(-matched.scores[places], kind='stable')]:
        gt = matched.target[i]
        if not taken[gt]:
            taken[gt] = hit[i] = keep[i] = True
            labels[i] = matched.gt_labels[gt]
    return _only(replace(matched, hit=hit, labels=labels), keep)


def _only(matched: Matched, keep: np.ndarray) -> Matched:
    names = ('scores', 'labels', 'hit', 'kind', 'target', 'image')
    return replace(matched, **{name: getattr(matched, name)[keep] for name in names})


def error_table(matched: Matched, num_classes: int) -> dict[str, tuple[int, float]]:
    """Kind -> how many, and by how much AP rises when they are mended."""
    base = mean_ap(matched, num_classes)
    counts = {name: int((matched.kind == i).sum()) for i, name in enumerate(KINDS)}
    counts['missed'] = len(matched.gt_labels) - len(mended(matched, 'missed').gt_labels)
    return {
        name: (count, mean_ap(mended(matched, name), num_classes) - base)
        for name, count in counts.items()
    }


def confusion_matrix(
    results: Sequence[dict], num_classes: int, *, score_thr: float = 0.3, iou_thr: float = 0.5
) -> np.ndarray:
    """``(C + 1, C + 1)`` counts: rows the gt's class, columns the prediction's.

    Pairs of all classes are matched by falling overlap. The last row is background taken for
    an object, the last column objects that nothing found.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for result in results:
        keep = result['scores'] >= score_thr
        keep &= ~_on_ignored(result['bboxes'], result['labels'], result)
        boxes, labels = result['bboxes'][keep], result['labels'][keep]
        overlaps = _iou(boxes, result['gt_bboxes'])
        free_pred, free_gt = np.ones(len(boxes), bool), np.ones(len(result['gt_bboxes']), bool)
        order = np.argsort(-overlaps, axis=None, kind='stable')
        for i, j in zip(*np.unravel_index(order, overlaps.shape)):
            if overlaps[i, j] < iou_thr:
                break
            if free_pred[i] and free_gt[j]:
                free_pred[i] = free_gt[j] = False
                matrix[result['gt_labels'][j], labels[i]] += 1
        np.add.at(matrix, (num_classes, labels[free_pred]), 1)
        np.add.at(matrix, (result['gt_labels'][free_gt], num_classes), 1)
    return matrix


def recall_by(matched: Matched, groups: dict[str, np.ndarray]) -> dict[str, tuple[int, float]]:
    """Group of gts -> how many, and the share that is found."""
    return {
        name: (int(mask.sum()), float(matched.gt_found[mask].mean()) if mask.any() else np.nan)
        for name, mask in groups.items()
    }


def size_groups(matched: Matched) -> dict[str, np.ndarray]:
    """Thirds of the gts by the root of their area, named by their limits in pixels."""
    size = matched.gt_boxes[:, 2:] - matched.gt_boxes[:, :2]
    side = np.sqrt(size.prod(1))
    if not len(side):
        return {}
    low, high = np.quantile(side, [1 / 3, 2 / 3])
    return {
        f'up to {low:.0f} px': side <= low,
        f'{low:.0f} to {high:.0f} px': (side > low) & (side <= high),
        f'above {high:.0f} px': side > high,
    }


def crowd_groups(matched: Matched, *, iou_thr: float = 0.1) -> dict[str, np.ndarray]:
    """The gts by how many others of their image overlap them by ``iou_thr`` at least."""
    others = np.zeros(len(matched.gt_boxes), np.int64)
    for image in np.unique(matched.gt_image):
        mine = np.flatnonzero(matched.gt_image == image)
        boxes = matched.gt_boxes[mine]
        others[mine] = (_iou(boxes, boxes) >= iou_thr).sum(1) - 1
    return {
        'alone': others <= 0,
        'touching one': others == 1,
        'touching several': others > 1,
    }
