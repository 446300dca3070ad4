"""COCO average precision of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from ..datasets.coco_reader import CocoContent, read_coco
from ..datasets.values import as_number, is_number
from ..errors import ConfigError, DataError
from ..registry import METRICS
from .coco_backend import AREAS, evaluate_boxes, load_backend, mean_defined
from .samples import annotations_of, one_each, predictions_of, usable


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """AP over IoU 0.5 to 0.95, AP50, AP75, AP by area, and AR.

    Predictions have to be in pixels of the original image, as detectors return them.
    The ground truth is the annotation file's; without one it is that of the data
    samples, brought back to the original image by their ``scale_factor``.

    The file is read as ``CocoDataset`` reads it: what that drops (no area, outside the
    image, repetitions) does not count here, and its ignore regions are ignored.
    Deviation from COCO's program, which counts those annotations.

    A figure that no ground truth defines (often AP of large objects) is NaN, logged as
    "undefined", and not COCO's -1, which spoils averages and curves.

    Args:
        ann_file: COCO json of the ground truth.
        classwise: Also report the AP of every class, as ``<class>_precision``.
        max_dets: Detections counted an image and class; the last one is AP's.
        iou_thrs: IoU thresholds. Default: 0.5, 0.55 ... 0.95.
        format_only: Write the results and skip the evaluation (test sets without gt).
        outfile_prefix: Write ``<prefix>.bbox.json``, a COCO results file.
        backend: ``'auto'``, ``'faster-coco-eval'`` or ``'pycocotools'``.
        backend_args: Passed to ``mmengine.fileio``.
        collect_device: ``'cpu'`` or ``'gpu'``: how ranks exchange results.
        collect_dir: Folder for ``'cpu'``.
        prefix: First part of the metric names. Default: ``coco``.

    Returns (from ``evaluate``) ``coco/bbox_mAP``, ``_mAP_50``, ``_mAP_75``, ``_mAP_s``,
    ``_mAP_m``, ``_mAP_l`` and ``coco/bbox_AR@<n>``, all in [0, 1] or NaN.

    Source: Lin et al., "Microsoft COCO", ECCV 2014, and https://cocodataset.org/#detection-eval.
    """

    default_prefix = 'coco'

    def __init__(
        self,
        ann_file: str | None = None,
        classwise: bool = False,
        max_dets: Sequence[int] = (1, 10, 100),
        iou_thrs: Sequence[float] | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        *,
        backend: str = 'auto',
        backend_args: Mapping | None = None,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if format_only and outfile_prefix is None:
            raise ConfigError('CocoMetric: format_only needs outfile_prefix')
        if not format_only:
            load_backend(backend)  # missing now, not after the first epoch
        self.ann_file = ann_file
        self.classwise = classwise
        self.max_dets = tuple(sorted(max_dets))
        self.iou_thrs = None if iou_thrs is None else tuple(iou_thrs)
        if not self.max_dets or any(not isinstance(n, int) or n < 1 for n in self.max_dets):
            raise ConfigError(f'max_dets: expected whole numbers of at least 1, got {max_dets!r}')
        if any(not is_number(t) or not 0 < t <= 1 for t in self.iou_thrs or ()):
            raise ConfigError(f'iou_thrs: expected numbers in (0, 1], got {iou_thrs!r}')
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.backend = backend
        self.backend_args = backend_args
        self.class_ap: dict[str, dict[str, float]] = {}
        """AP and AP50 of every class, of the last evaluation."""
        self._gt: CocoContent | None = None

    def result_names(self) -> list[str] | None:
        """The names of the figures, without the prefix; None where they are not known."""
        if self.format_only:
            return []
        if self.classwise:
            return None  # the data set names the classes
        figures = ['bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75']
        figures += [f'bbox_mAP_{area}' for area in AREAS[1:]]
        return figures + [f'bbox_AR@{limit}' for limit in self.max_dets]

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch, as NumPy arrays; the gts if no file has them."""
        for sample in data_samples:
            result = predictions_of(sample)
            if self.ann_file is None and not self.format_only:
                result.update(annotations_of(sample))
            self.results.append(result)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Evaluate the collected predictions of all ranks."""
        classes = self._classes()
        results = usable(one_each(results), len(classes))
        if self.ann_file is None:
            gt, cat_ids = _gt_from_samples(results, classes), list(range(len(classes)))
        else:
            gt, cat_ids = self._from_file(classes)
            _check_images(self.ann_file, gt, results)
        detections = _detections(results, cat_ids)
        if self.outfile_prefix is not None:
            path = f'{self.outfile_prefix}.bbox.json'
            fileio.dump(detections, path)
            print_log(f'{len(detections)} detections written to {path}', 'current')
        if self.format_only:
            return {}
        return self._evaluate(gt, detections, [r['img_id'] for r in results], cat_ids)

    def _from_file(self, classes: Sequence[str]) -> tuple[dict, list]:
        """The file's ground truth, by the data set's own rules, and label -> category id."""
        if self._gt is None:
            self._gt = read_coco(
                str(self.ann_file),
                classes,
                explicit_classes=True,
                missing='error_if_near',
                with_source=True,
                backend_args=self.backend_args,
            )
        return _gt_from_file(self._gt), self._gt.cat_ids

    def _classes(self) -> Sequence[str]:
        if not self.dataset_meta or 'classes' not in self.dataset_meta:
            raise ConfigError("CocoMetric: the data set's metainfo has no 'classes'")
        return self.dataset_meta['classes']

    def _evaluate(
        self, gt: dict, detections: list[dict], image_ids: list, cat_ids: list
    ) -> dict[str, float]:
        labels = [i for i, cat in enumerate(cat_ids) if cat is not None]
        precision, recall = evaluate_boxes(
            gt,
            detections,
            image_ids=image_ids,
            category_ids=[cat_ids[i] for i in labels],
            max_dets=self.max_dets,
            iou_thresholds=self.iou_thrs,
            backend=self.backend,
        )
        thresholds = (
            np.linspace(0.5, 0.95, 10) if self.iou_thrs is None else np.array(self.iou_thrs)
        )
        metrics = summarise(precision, recall, thresholds, self.max_dets)
        half = np.flatnonzero(np.isclose(thresholds, 0.5))
        self.class_ap = {}
        for k, label in enumerate(labels):
            found = precision[:, :, k, 0, -1]
            self.class_ap[self._classes()[label]] = dict(
                AP=mean_defined(found), AP50=mean_defined(found[half])
            )
        if self.classwise:
            metrics |= {f'{name}_precision': ap['AP'] for name, ap in self.class_ap.items()}
        return metrics


def summarise(
    precision: np.ndarray,
    recall: np.ndarray,
    thresholds: np.ndarray,
    max_dets: Sequence[int],
) -> dict[str, float]:
    """COCO's summary figures out of the precision and recall arrays."""
    metrics = {'bbox_mAP': mean_defined(precision[:, :, :, 0, -1])}
    for percent in (50, 75):
        at = np.flatnonzero(np.isclose(thresholds, percent / 100))
        metrics[f'bbox_mAP_{percent}'] = mean_defined(precision[at][:, :, :, 0, -1])
    for a, area in enumerate(AREAS[1:], 1):
        metrics[f'bbox_mAP_{area}'] = mean_defined(precision[:, :, :, a, -1])
    for d, limit in enumerate(max_dets):
        metrics[f'bbox_AR@{limit}'] = mean_defined(recall[:, :, 0, d])
    return metrics


def _check_images(path: str, gt: dict, results: Sequence[dict]) -> None:
    """Predictions have to be for images of the file, and an id for one image."""
    known = {image['id'] for image in gt['images']}
    unknown = [r['img_id'] for r in results if r['img_id'] not in known]
    if unknown:
        twice = ' (two files of one id)' if isinstance(unknown[0], tuple) else ''
        raise DataError(
            f'{path}: predictions for {len(unknown)} images that the file does not '
            f'list, e.g. {unknown[:3]}{twice}; is it the file of the evaluated data set?'
        )
    if len(results) < len(known):
        print_log(f'evaluated on {len(results)} of {len(known)} images', 'current')


def _detections(results: Sequence[dict], cat_ids: Sequence) -> list[dict]:
    """COCO results, without those of classes that the file does not have."""
    detections = []
    for result in results:
        boxes = result['bboxes']
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
        for box, score, label in zip(
            boxes.tolist(), result['scores'].tolist(), result['labels'].tolist()
        ):
            if cat_ids[label] is not None:
                detections.append(
                    dict(
                        image_id=result['img_id'],
                        category_id=cat_ids[label],
                        bbox=box,
                        score=score,
                    )
                )
    return detections


def _gt_from_file(content: CocoContent) -> dict:
    """What the data set would train on, with the areas of the file.

    The box is the file's own unless it was clipped: rounding across the border by up to
    a pixel is left as COCO's own program sees it.
    """
    annotations = []
    for image in content.images:
        for instance in image['instances']:
            x1, y1, x2, y2 = instance['bbox']
            x, y, w, h = instance['source']['bbox']
            rounded = x >= -1 and y >= -1 and x + w <= image['width'] + 1
            rounded = rounded and y + h <= image['height'] + 1
            box = [x, y, w, h] if rounded else [x1, y1, x2 - x1, y2 - y1]
            area = as_number(instance['source'].get('area'))
            annotations.append(
                dict(
                    image_id=image['img_id'],
                    category_id=content.cat_ids[instance['bbox_label']],
                    bbox=box,
                    area=area if area is not None and area > 0 else box[2] * box[3],
                    iscrowd=instance['ignore_flag'],
                )
            )
    return dict(images=[dict(id=i['img_id']) for i in content.images], annotations=annotations)


def _gt_from_samples(results: Sequence[dict], classes: Sequence[str]) -> dict:
    annotations: list[dict] = []
    for result in results:
        for crowd in (0, 1):
            boxes = result['ignored_bboxes'] if crowd else result['gt_bboxes']
            labels = result['ignored_labels'] if crowd else result['gt_labels']
            for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist()):
                # A region without a class is to be ignored for every class.
                for one in [label] if label >= 0 else range(len(classes)):
                    annotations.append(
                        dict(
                            image_id=result['img_id'],
                            category_id=one,
                            bbox=[x1, y1, x2 - x1, y2 - y1],
                            area=(x2 - x1) * (y2 - y1),
                            iscrowd=crowd,
                        )
                    )
    return dict(
        images=[dict(id=r['img_id']) for r in results],
        annotations=annotations,
    )
