"""Predictions beside annotations of a test set: by a model, or out of a results file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from ..datasets.coco_reader import load_json
from ..datasets.values import Ids
from ..engine.weights import load_weights, without_pretrained
from ..errors import DataError
from ..evaluation.samples import annotations_of, predictions_of
from ..registry import MODELS
from .detector import find_device


def results_of_model(
    cfg: Config, dataset: Any, checkpoint: str, device: str | None, *, batch_size: int = 4
) -> list[dict]:
    """Run a model over a test set.

    Args:
        cfg: The config, for the model.
        dataset: The test set.
        checkpoint: Weights.
        device: Where to run; None takes a GPU where there is one.
        batch_size: Images at once.
    """
    from rich.progress import track

    model = MODELS.build(without_pretrained(cfg.model))
    load_weights(model, checkpoint)
    model.to(find_device(device)).eval()
    results = []
    begins = range(0, len(dataset), batch_size)
    for begin in track(begins, description='images'):
        batch = [dataset[i] for i in range(begin, min(begin + batch_size, len(dataset)))]
        data = {key: [item[key] for item in batch] for key in ('inputs', 'data_samples')}
        with torch.no_grad():
            samples = model.test_step(data)
        results += [{**predictions_of(s), **annotations_of(s)} for s in samples]
    return results


def results_of_file(dataset: Any, path: str) -> list[dict]:
    """A COCO results file beside the annotations of a data set.

    Raises:
        DataError: If it is no such file, or of another data set; names entry and key.
    """
    rows = load_json(path)
    if not isinstance(rows, list):
        raise DataError(f'{path}: expected a list of detections, got a {type(rows).__name__}')
    infos = {info['img_id']: info for info in _infos(dataset)}
    images = Ids(infos)
    numbers = getattr(dataset, 'cat_ids', range(1, len(dataset.metainfo['classes']) + 1))
    label_of = {number: label for label, number in enumerate(numbers) if number is not None}
    categories = Ids(label_of)
    found: dict[Any, list] = {key: [] for key in infos}
    for number, row in enumerate(rows):
        try:
            image, _ = images.find(row['image_id'])
            category, _ = categories.find(row['category_id'])
            x, y, w, h = map(float, row['bbox'])
            entry = (x, y, x + w, y + h, float(row['score']))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f'{path}, entry {number}: expected image_id, category_id, bbox (x, y, w, h) and '
                f'score, got {row!r}'
            ) from error
        if image is None:
            raise DataError(
                f'{path}, entry {number}: image_id {row["image_id"]!r} is not in the test set'
            )
        if category is not None:
            found[image].append((*entry, label_of[category]))
    return [_beside(infos[key], found[key]) for key in infos]


def _infos(dataset: Any) -> Iterator[dict]:
    for index in range(len(dataset)):
        yield dataset.get_data_info(index)


def _beside(info: dict, rows: list) -> dict:
    table = np.array(rows, np.float64).reshape(-1, 6)
    result = dict(
        img_id=info['img_id'],
        img_path=info['img_path'],
        bboxes=table[:, :4],
        scores=table[:, 4],
        labels=table[:, 5].astype(np.int64),
    )
    for name, flag in (('gt', 0), ('ignored', 1)):
        chosen = [i for i in info['instances'] if i['ignore_flag'] == flag]
        boxes = np.array([i['bbox'] for i in chosen], np.float64).reshape(-1, 4)
        result[f'{name}_bboxes'] = boxes
        result[f'{name}_labels'] = np.array([i['bbox_label'] for i in chosen], np.int64)
    return result
