"""PASCAL VOC's mean average precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from ..errors import ConfigError
from ..ops import bbox_overlaps
from ..registry import METRICS
from .samples import annotations_of, one_each, predictions_of, usable


@METRICS.register_module()
class VOCMetric(BaseMetric):
    """Mean AP at fixed IoU thresholds; difficult objects are neither hit nor miss.

    Predictions in pixels of the original image; the ground truth is that of the data
    samples, so the test pipeline has to load annotations.

    Args:
        iou_thrs: One threshold or several, each giving ``AP<percent>``; ``mAP`` is
            their mean.
        eval_mode: ``'area'``, the area under the curve (VOC 2010 and later), or
            ``'11points'``, the mean of 11 recall steps (VOC 2007).
        collect_device: ``'cpu'`` or ``'gpu'``: how ranks exchange results.
        collect_dir: Folder for ``'cpu'``.
        prefix: First part of the metric names. Default: ``pascal_voc``.

    Deviation from the devkit: sides are ``x2 - x1``, without its + 1, since boxes here
    are continuous.

    Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010.
    """

    default_prefix = 'pascal_voc'

    def __init__(
        self,
        iou_thrs: float | Sequence[float] = 0.5,
        eval_mode: str = '11points',
        *,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if eval_mode not in ('area', '11points'):
            raise ConfigError(f"eval_mode: expected 'area' or '11points', got {eval_mode!r}")
        self.iou_thrs = [iou_thrs] if isinstance(iou_thrs, (int, float)) else list(iou_thrs)
        self.eval_mode = eval_mode
        self.class_ap: dict[str, dict[str, float]] = {}
        """AP of every class at each threshold, of the last evaluation."""

    def result_names(self) -> list[str]:
        """The names of the figures, without the prefix."""
        return ['mAP', *(f'AP{round(threshold * 100):02d}' for threshold in self.iou_thrs)]

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep predictions and annotations of a batch, as NumPy arrays."""
        self.results.extend({**predictions_of(s), **annotations_of(s)} for s in data_samples)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """AP of every class, averaged over the classes that occur."""
        classes = (self.dataset_meta or {}).get('classes')
        if classes is None:
            raise ConfigError("VOCMetric: the data set's metainfo has no 'classes'")
        results = usable(one_each(results), len(classes))
        metrics: dict[str, float] = {}
        self.class_ap = {name: {} for name in classes}
        for threshold in self.iou_thrs:
            values = [
                class_ap(results, label, threshold, mode=self.eval_mode)
                for label in range(len(classes))
            ]
            defined = [v for v in values if not np.isnan(v)]
            mean = float(np.mean(defined)) if defined else float('nan')
            figure = f'AP{round(threshold * 100):02d}'
            metrics[figure] = mean
            for name, value in zip(classes, values):
                self.class_ap[name][figure] = value
            text = ', '.join(f'{c} {v:.3f}' for c, v in zip(classes, values))
            print_log(f'AP at IoU {threshold}: {text}', 'current')
        means = [v for v in metrics.values() if not np.isnan(v)]
        return {'mAP': float(np.mean(means)) if means else float('nan'), **metrics}


def class_ap(results: Sequence[dict], label: int, threshold: float, *, mode: str) -> float:
    """AP of one class; NaN where it has no ground truth that counts.

    Predictions are visited by falling score. Each takes, in its image, the gt it
    overlaps most: a hit if the IoU reaches the threshold and the gt is not taken yet;
    nothing at all if the gt is difficult; otherwise a false alarm.
    """
    scores, hits, total = [], [], 0
    for result in results:
        counted = result['gt_bboxes'][result['gt_labels'] == label]
        ignored = np.isin(result['ignored_labels'], (label, -1))
        boxes = np.concatenate([counted, result['ignored_bboxes'][ignored]])
        total += len(counted)
        mine = result['labels'] == label
        order = np.argsort(-result['scores'][mine], kind='stable')
        outcome = _match(result['bboxes'][mine][order], boxes, len(counted), threshold)
        keep = outcome >= 0
        scores.append(result['scores'][mine][order][keep])
        hits.append(outcome[keep])
    if total == 0:
        return float('nan')
    score, hit = np.concatenate(scores), np.concatenate(hits)
    hit = hit[np.argsort(-score, kind='stable')]
    true = np.cumsum(hit)
    recall, precision = true / total, true / np.arange(1, len(hit) + 1)
    return average_precision(recall, precision, mode=mode)


def average_precision(recall: np.ndarray, precision: np.ndarray, *, mode: str) -> float:
    """AP of a precision-recall curve given point by point, recall not falling.

    ``'area'``: the area under ``max precision at this recall or above``.
    ``'11points'``: that envelope's mean at recall 0, 0.1 ... 1.

    Example:
        >>> average_precision(np.array([0.5, 0.5, 1.0]), np.array([1, 0.5, 2 / 3]), mode='area')
        0.8333333333333333
    """
    if mode == '11points':
        steps = [precision[recall >= t - 1e-12] for t in np.linspace(0, 1, 11)]
        return float(np.mean([p.max() if p.size else 0.0 for p in steps]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _match(preds: np.ndarray, gts: np.ndarray, num_counted: int, threshold: float) -> np.ndarray:
    """1 hit, 0 false alarm, -1 left out, for predictions by falling score."""
    outcome = np.zeros(len(preds), np.int64)
    if not len(gts):
        return outcome
    overlaps = bbox_overlaps(torch.from_numpy(preds), torch.from_numpy(gts)).numpy()
    taken = np.zeros(len(gts), bool)
    for i, row in enumerate(overlaps):
        best = int(row.argmax())
        if row[best] < threshold:
            continue
        if best >= num_counted:
            outcome[i] = -1
        elif not taken[best]:
            taken[best], outcome[i] = True, 1
    return outcome
