"""COCO average precision of persons by their keypoints' similarity (OKS)."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from ..datasets.annotations import read_flag_of
from ..datasets.coco_reader import load_json
from ..datasets.problems import Problems
from ..datasets.values import as_number
from ..errors import ConfigError, DataError
from ..registry import METRICS
from .coco_backend import _index, load_backend, mean_defined, numbers, renumber
from .samples import to_numpy

AREAS = ('all', 'm', 'l')
"""COCO leaves small persons out; their joints are not annotated there."""


def evaluate_keypoints(
    gt: dict,
    detections: Sequence[dict],
    *,
    image_ids: Sequence,
    sigmas: Sequence[float],
    category_id: Any = 1,
    max_dets: int = 20,
    backend: str = 'auto',
) -> tuple[np.ndarray, np.ndarray]:
    """Precision ``(T, R, A)`` and recall ``(T, A)``; -1 where there is no gt.

    T are the thresholds of OKS 0.5, 0.55 ... 0.95, R recall steps, A areas (all, medium,
    large).

    Args:
        gt: A COCO content whose annotations have ``keypoints``, ``area``, ``bbox``.
        detections: COCO results: image_id, category_id, keypoints, score.
        image_ids: Images to evaluate on.
        sigmas: One a keypoint.
        category_id: Whose keypoints.
        max_dets: Detections counted an image.
        backend: See :func:`load_backend`.
    """
    coco_class, eval_class, _ = load_backend(backend)
    images, categories = numbers(image_ids), numbers([category_id])
    gt = renumber(gt, images, categories)
    found = renumber({'annotations': detections}, images, categories)
    with contextlib.redirect_stdout(io.StringIO()):
        coco_gt = _index(coco_class, gt)
        coco_dt = _index(coco_class, {**gt, 'annotations': _as_annotations(found['annotations'])})
        evaluator = eval_class(coco_gt, coco_dt, 'keypoints')
        evaluator.params.imgIds = list(images.values())
        evaluator.params.catIds = list(categories.values())
        evaluator.params.maxDets = [max_dets]
        evaluator.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
        evaluator.evaluate()
        evaluator.accumulate()
    precision = np.asarray(evaluator.eval['precision'])[:, :, 0, :, 0]
    recall = np.asarray(evaluator.eval['recall'])[:, 0, :, 0]
    return precision, recall


def _as_annotations(detections: Sequence[dict]) -> list[dict]:
    """What the libraries' own loader makes of keypoint results."""
    result = []
    for number, detection in enumerate(detections, 1):
        points = np.asarray(detection['keypoints']).reshape(-1, 3)
        (x1, y1), (x2, y2) = points[:, :2].min(0), points[:, :2].max(0)
        box = [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
        result.append(
            {**detection, 'id': number, 'bbox': box, 'area': box[2] * box[3], 'iscrowd': 0}
        )
    return result


@METRICS.register_module()
class CocoKeypointMetric(BaseMetric):
    """AP over object keypoint similarity 0.5 to 0.95, AP50, AP75, AP by area, and AR.

    Predictions have to be in pixels of the original image, as estimators return them. A
    joint that was not found stands at (0, 0), as COCO's results have it.

    Args:
        ann_file: COCO keypoint json of the ground truth.
        sigmas: One a keypoint; the data set's ``metainfo['sigmas']`` by default.
        max_dets: Persons counted an image.
        visible_only: Count only joints that can be seen (v = 2), a figure beside COCO's.
        format_only: Write the results and skip the evaluation.
        outfile_prefix: Write ``<prefix>.keypoints.json``, a COCO results file.
        backend: ``'auto'``, ``'faster-coco-eval'`` or ``'pycocotools'``.
        backend_args: Passed to ``mmengine.fileio``.
        collect_device: ``'cpu'`` or ``'gpu'``: how ranks exchange results.
        collect_dir: Folder for ``'cpu'``.
        prefix: First part of the metric names. Default: ``coco``.

    Returns (from ``evaluate``) ``coco/keypoints_mAP``, ``_mAP_50``, ``_mAP_75``,
    ``_mAP_m``, ``_mAP_l``, and ``coco/keypoints_AR``, all in [0, 1], or NaN where no
    ground truth defines a figure (COCO's "large" persons often).

    Source: https://cocodataset.org/#keypoints-eval.
    """

    default_prefix = 'coco'

    def __init__(
        self,
        ann_file: str,
        sigmas: Sequence[float] | None = None,
        max_dets: int = 20,
        *,
        visible_only: bool = False,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        backend: str = 'auto',
        backend_args: Mapping | None = None,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if format_only and outfile_prefix is None:
            raise ConfigError('CocoKeypointMetric: format_only needs outfile_prefix')
        if not format_only:
            load_backend(backend)  # missing now, not after the first epoch
        self.ann_file = ann_file
        self.sigmas = sigmas
        self.max_dets = max_dets
        self.visible_only = visible_only
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.backend = backend
        self.backend_args = backend_args
        self._gt: dict | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the persons of a batch, as NumPy arrays."""
        for sample in data_samples:
            persons = sample['pred_instances']
            if 'keypoints' not in persons:
                raise DataError(
                    'expected pred_instances with keypoints, got none; is the model a pose '
                    'estimator?'
                )
            self.results.append(
                dict(
                    img_id=sample['img_id'],
                    keypoints=to_numpy(persons['keypoints']).astype(np.float64),
                    keypoint_scores=to_numpy(persons['keypoint_scores']).astype(np.float64),
                    scores=to_numpy(persons['scores']).astype(np.float64),
                )
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Evaluate the collected predictions of all ranks."""
        # The padding of the last batches can bring an image twice.
        by_image = {result['img_id']: result for result in reversed(results)}
        results = [by_image[key] for key in dict.fromkeys(r['img_id'] for r in results)]
        gt = self._ground_truth()
        category = next(c['id'] for c in gt['categories'] if c.get('keypoints'))
        detections = keypoint_results(results, category)
        if self.outfile_prefix is not None:
            path = f'{self.outfile_prefix}.keypoints.json'
            fileio.dump(detections, path)
            print_log(f'{len(detections)} persons written to {path}', 'current')
        if self.format_only:
            return {}
        self._check_images(gt, by_image)
        sigmas = self.sigmas or (self.dataset_meta or {}).get('sigmas')
        if sigmas is None:
            raise ConfigError("CocoKeypointMetric: the data set's metainfo has no 'sigmas'")
        precision, recall = evaluate_keypoints(
            gt,
            detections,
            image_ids=list(by_image),
            sigmas=sigmas,
            category_id=category,
            max_dets=self.max_dets,
            backend=self.backend,
        )
        metrics = {'keypoints_mAP': mean_defined(precision[:, :, 0])}
        for percent, index in ((50, 0), (75, 5)):
            metrics[f'keypoints_mAP_{percent}'] = mean_defined(precision[index, :, 0])
        for a, area in enumerate(AREAS[1:], 1):
            metrics[f'keypoints_mAP_{area}'] = mean_defined(precision[:, :, a])
        metrics['keypoints_AR'] = mean_defined(recall[:, 0])
        return metrics

    def _ground_truth(self) -> dict:
        if self._gt is None:
            content = load_json(self.ann_file, backend_args=self.backend_args)
            if not isinstance(content, dict) or not {'images', 'categories'} <= set(content):
                raise DataError(f'{self.ann_file}: expected a COCO json with images and categories')
            if not any(c.get('keypoints') for c in content['categories']):
                raise DataError(f'{self.ann_file}: expected a category with keypoints, got none')
            self._gt = {
                **content,
                'annotations': _complete(
                    content.get('annotations', []), self.visible_only, Problems(self.ann_file)
                ),
            }
        return self._gt

    def _check_images(self, gt: dict, by_image: Mapping) -> None:
        known = {image['id'] for image in gt['images']}
        unknown = [key for key in by_image if key not in known]
        if unknown:
            raise DataError(
                f'{self.ann_file}: predictions for {len(unknown)} images that the file does not '
                f'list, e.g. {unknown[:3]}; is it the file of the evaluated data set?'
            )
        if len(by_image) < len(known):
            print_log(f'evaluated on {len(by_image)} of {len(known)} images', 'current')


def keypoint_results(results: Sequence[Mapping], category_id: Any) -> list[dict]:
    """COCO results: one entry a person, keypoints as x, y, score."""
    detections, broken = [], 0
    for result in results:
        for points, scores, score in zip(
            result['keypoints'], result['keypoint_scores'], result['scores']
        ):
            if not (np.isfinite(points).all() and np.isfinite(score)):
                broken += 1
                continue
            flat = np.concatenate([points, scores[:, None]], axis=1).reshape(-1)
            detections.append(
                dict(
                    image_id=result['img_id'],
                    category_id=category_id,
                    keypoints=flat.tolist(),
                    score=float(score),
                )
            )
    if broken:
        text = f'{broken} predictions have a keypoint or score that is not finite; left out'
        print_log(text, 'current', logging.WARNING)
    return detections


def _complete(annotations: Sequence[dict], visible_only: bool, problems: Problems) -> list[dict]:
    """Annotations with what COCO's code reads filled in."""
    complete = []
    for number, ann in enumerate(annotations, 1):
        flat = np.asarray(ann.get('keypoints') or [], np.float64).copy()
        if visible_only and flat.size:
            flat[2::3] = np.where(flat[2::3] == 2, 2, 0)
        ids = dict(image=ann.get('image_id'), annotation=ann.get('id'))
        ignored = [read_flag_of(ann, key, problems, ids) for key in ('iscrowd', 'ignore')]
        area = as_number(ann.get('area'))
        complete.append(
            {
                **ann,
                'id': number,
                'iscrowd': int(any(ignored)),
                'area': area if area else ann['bbox'][2] * ann['bbox'][3],
                'keypoints': flat.tolist(),
                'num_keypoints': int((flat[2::3] > 0).sum()),
            }
        )
    return complete
