"""A contact sheet: ground truth beside predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ..errors import DataError
from ..evaluation.samples import annotations_of, persons_of, predictions_of
from ..ops import bbox_overlaps
from .draw import draw_boxes, image_of, label_size, label_texts, write, write_rgb
from .person_sheet import draw_persons, match_persons, similarities

_RIGHT = (60, 200, 90)
_WRONG = (235, 70, 60)
_MISSED = (255, 170, 0)
_IGNORED = (150, 150, 150)
_PAPER = 250
_GAP = 8


def draw_prediction_sheet(
    samples: Sequence[Mapping | Any],
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    score_thr: float = 0.3,
    iou_thr: float = 0.5,
    columns: int = 3,
    cell: int = 256,
    max_images: int = 12,
) -> Path:
    """Write a picture with a pair of panels an image: ground truth, predictions.

    A prediction is green if it is right (its class, IoU above the threshold, and none
    with a higher score took that object), red if not. An object that no prediction found
    is orange in the left panel; ignore regions are grey. Persons with joints are drawn as
    skeletons whose edges have these colours; a right one is similar (OKS) by the threshold.

    Args:
        samples: Data samples (or their dicts) with ``img_path``, ``gt_instances`` in
            input pixels and ``pred_instances`` in pixels of the original image.
        path: PNG to write; its folder is made.
        classes: Names of the labels.
        score_thr: Predictions below it are left out.
        iou_thr: Overlap of a right prediction, or a person's least similarity.
        columns: Pairs a row.
        cell: Longer side of an image in pixels.
        max_images: The first so many samples are drawn.

    Returns:
        The path.

    Raises:
        DataError: If there is no sample to draw.
    """
    pairs = [
        _pair(sample, classes, score_thr=score_thr, iou_thr=iou_thr, cell=cell)
        for sample in list(samples)[:max_images]
    ]
    if not pairs:
        raise DataError('draw_prediction_sheet: expected at least one sample, got none')
    columns = min(columns, len(pairs))
    width = max(left.shape[1] for left, _ in pairs)
    rows = []
    for begin in range(0, len(pairs), columns):
        row = pairs[begin : begin + columns]
        # As high as this row's images and as wide as the widest of all: no blank quarters.
        height = max(left.shape[0] for left, _ in row)
        tiles = [_side_by_side(left, right, height, width) for left, right in row]
        tiles += [np.full_like(tiles[0], _PAPER)] * (columns - len(tiles))
        rows.append(np.hstack(tiles))
    sheet = np.vstack([*rows, _legend(rows[0].shape[1], score_thr)])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rgb(str(path), sheet)
    return path


def _pair(
    sample: Mapping | Any,
    classes: Sequence[str] | None,
    *,
    score_thr: float,
    iou_thr: float,
    cell: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The panels of an image: ground truth, predictions."""
    pred, gt = predictions_of(sample), annotations_of(sample)
    persons = persons_of(sample)
    # Lowest scores first, so that a doubtful second opinion lies under the first one.
    keep = np.argsort(pred['scores'], kind='stable')
    keep = keep[pred['scores'][keep] >= score_thr]
    pred = {key: pred[key][keep] for key in ('bboxes', 'scores', 'labels')}
    image, scale = _fit(image_of(sample), cell)
    left = draw_boxes(image, gt['ignored_bboxes'] * scale, colours=_IGNORED, thickness=1)
    if persons is None:
        right, found = match_predictions(pred, gt, iou_thr=iou_thr)
    else:
        keep, pred = keep[::-1], {key: value[::-1] for key, value in pred.items()}
        persons |= {key: persons[key][keep] for key in ('pred_keypoints', 'pred_seen')}
        overlaps = similarities(persons, gt['gt_bboxes'])
        right, found = match_persons(overlaps, pred['scores'], iou_thr)
    gt_colours = [_RIGHT if f else _MISSED for f in found]
    colours = [_RIGHT if r else _WRONG for r in right]
    if persons is None:
        texts = (
            label_texts(gt['gt_labels'], classes),
            label_texts(pred['labels'], classes, pred['scores']),
        )
        options: dict[str, Any] = dict(thickness=1, text_height=8)
        boxes = gt['gt_bboxes'] * scale, pred['bboxes'] * scale
        left = draw_boxes(left, boxes[0], texts=texts[0], colours=gt_colours, **options)
        drawn = draw_boxes(image, boxes[1], texts=texts[1], colours=colours, **options)
    else:
        left = draw_persons(left, persons['gt_keypoints'] * scale, persons['gt_seen'], gt_colours)
        drawn = draw_persons(
            image,
            persons['pred_keypoints'] * scale,
            persons['pred_seen'],
            colours,
            [f'{score:.0%}' for score in pred['scores']],
        )
    missed = int((~found).sum())
    wrong = int((~right).sum())
    return (
        _panel(left, f'ground truth: {len(found)}, missed: {missed}', cell),
        _panel(drawn, f'predictions: {len(right)}, wrong: {wrong}', cell),
    )


def _side_by_side(left: np.ndarray, right: np.ndarray, height: int, width: int) -> np.ndarray:
    paper = np.full((height + _GAP, 2 * width + 2 + 2 * _GAP, 3), _PAPER, np.uint8)
    for x, panel in ((_GAP, left), (_GAP + width + 2, right)):
        paper[_GAP // 2 : _GAP // 2 + panel.shape[0], x : x + panel.shape[1]] = panel
    return paper


def match_predictions(
    pred: Mapping[str, np.ndarray], gt: Mapping[str, np.ndarray], *, iou_thr: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which predictions are right, which objects are found: bool ``(k,)`` and ``(n,)``.

    By falling score, each prediction takes the free object of its class that it overlaps
    most, if by the threshold at least.
    """
    right = np.zeros(len(pred['bboxes']), bool)
    found = np.zeros(len(gt['gt_bboxes']), bool)
    if not len(right) or not len(found):
        return right, found
    overlaps = bbox_overlaps(
        torch.from_numpy(pred['bboxes']), torch.from_numpy(gt['gt_bboxes'])
    ).numpy()
    overlaps[pred['labels'][:, None] != gt['gt_labels'][None]] = 0
    for i in np.argsort(-pred['scores'], kind='stable'):
        free = np.where(found, 0, overlaps[i])
        best = int(free.argmax())
        if free[best] >= iou_thr:
            right[i] = found[best] = True
    return right, found


def _fit(image: np.ndarray, cell: int) -> tuple[np.ndarray, float]:
    scale = cell / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=method), scale


def _panel(image: np.ndarray, title: str, cell: int) -> np.ndarray:
    """A line of text above the image, which may be narrower."""
    width = max(image.shape[1], min(label_size(title, 9)[0], cell))
    panel = np.full((image.shape[0] + 18, width, 3), _PAPER, np.uint8)
    write(panel, title, (0, 1), (_PAPER,) * 3, 9)
    panel[18:, : image.shape[1]] = image
    return panel


def _legend(width: int, score_thr: float) -> np.ndarray:
    strip = np.full((28, width, 3), _PAPER, np.uint8)
    x = _GAP
    for colour, text in (
        (_RIGHT, 'right / found'),
        (_WRONG, f'wrong (score >= {score_thr:g})'),
        (_MISSED, 'missed'),
        (_IGNORED, 'ignored'),
    ):
        cv2.rectangle(strip, (x, 7), (x + 12, 19), colour, -1)
        write(strip, text, (x + 16, 4), (_PAPER,) * 3, 9)
        x += 36 + 9 * len(text)
    return strip
