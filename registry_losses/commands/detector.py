"""A trained detector for image files.

Shapes: n detections of an image.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast, overload

import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile as _LoadImageFromFile
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..config import load_config
from ..datasets.metainfo import COCO_CLASSES, make_palette
from ..engine.weights import load_weights, without_pretrained
from ..errors import ConfigError, DataError
from ..evaluation.samples import predictions_of, to_numpy
from ..registry import DATASETS, MODELS, TRANSFORMS
from ..structures import DetDataSample

# A file, or an array (H, W, 3) in BGR; a PIL image will do as well.
Image = str | os.PathLike | np.ndarray

# COCO numbers its 80 categories up to 90; these numbers are not used.
_COCO_GAPS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})


class Detector:
    """A trained detector, for image files and arrays.

    Args:
        config: A path, a ``registry_losses::`` name, or a config.
        checkpoint: Weights: a local file, or a URL.
        device: Where to run; None takes a GPU where there is one.
        options: Dotted keys that override the config's.

    Raises:
        ConfigError: If the config is wrong, or has no test pipeline.
        CheckpointError: If the weights are not this model's.
    """

    def __init__(
        self,
        config: str | os.PathLike | Config,
        checkpoint: str | os.PathLike,
        *,
        device: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        cfg = load_config(config, options=options)
        init_default_scope(cfg.default_scope)
        self.device = find_device(device)
        self.model = MODELS.build(without_pretrained(cfg.model))
        meta = load_weights(self.model, checkpoint)
        self.model.to(self.device).eval()
        self.classes = class_names(cfg, meta)
        saved = (meta.get('dataset_meta') or {}).get('palette') or ()
        # The colours of the training where it had one a class, so that pictures look alike.
        self.palette = (
            [tuple(colour) for colour in saved]
            if len(saved) == len(self.classes)
            else make_palette(max(80, len(self.classes)))
        )
        self.pipeline = [TRANSFORMS.build(node) for node in inference_pipeline(cfg)]

    @overload  # a str is a sequence too, of letters that are no files
    def __call__(self, images: Image) -> DetDataSample: ...

    @overload
    def __call__(self, images: Sequence[Image]) -> list[DetDataSample]: ...

    def __call__(self, images: Image | Sequence[Image]) -> DetDataSample | list[DetDataSample]:
        """The detections of an image, or of a batch of images, in pixels of the image.

        Args:
            images: A file; an array ``(H, W, 3)`` uint8 in BGR, as OpenCV reads it; a PIL
                image; or a list of these, which go through the model together.

        Returns:
            A sample an image, whose ``pred_instances`` have ``bboxes (n, 4)`` xyxy,
            ``scores (n,)`` and ``labels (n,)``, which number :attr:`classes`; a list of
            samples for a list of images.

        Raises:
            DataError: If an image cannot be read; the message names it.

        Example:
            >>> detector = Detector('my_config.py', 'best.pth')  # doctest: +SKIP
            >>> found = detector('photo.jpg').pred_instances  # doctest: +SKIP
            >>> print([detector.classes[i] for i in found.labels], found.bboxes)  # doctest: +SKIP
        """
        if not isinstance(images, (list, tuple)):
            return self([cast(Image, images)])[0]
        batch = [self._load(image, i) for i, image in enumerate(images)]
        data = {key: [item[key] for item in batch] for key in ('inputs', 'data_samples')}
        with torch.no_grad():
            return self.model.test_step(data)

    def _load(self, image: Image, index: int) -> dict:
        results: dict[str, Any] = dict(sample_idx=index, instances=[])
        pipeline = self.pipeline
        if isinstance(image, (str, os.PathLike)):
            path = results['img_path'] = str(image)
        else:
            path = f'image {index} of the call'
            results['img'] = pixels_of(image, path)
            results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
            pipeline = [t for t in pipeline if not isinstance(t, _LoadImageFromFile)]
        for transform in pipeline:
            try:
                changed = transform(results)
            except DataError:
                raise
            except Exception as error:  # of whatever library the transform calls
                raise DataError(f'{path}: {type(transform).__name__} failed: {error}') from error
            if changed is None:
                raise DataError(f'{path}: {type(transform).__name__} could not use this image')
            results = changed
            # Only now: the message of a file that cannot be read names the file alone.
            results.setdefault('img_id', index)
        return results


def pixels_of(image: Any, name: str) -> np.ndarray:
    """``(H, W, 3)`` uint8 BGR of an array or a PIL image.

    Raises:
        DataError: If it is neither; names the image.
    """
    if hasattr(image, 'convert') and hasattr(image, 'getexif'):  # PIL: RGB
        image = np.asarray(image.convert('RGB'))[..., ::-1]
    if not isinstance(image, np.ndarray):
        raise DataError(f'{name}: expected a file, an array or a PIL image, got {type(image)}')
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise DataError(f'{name}: expected (H, W, 3) uint8 in BGR, got {image.shape} {image.dtype}')
    return np.ascontiguousarray(image)


def find_device(name: str | None) -> torch.device:
    """The device of that name; None takes a GPU where there is one.

    Raises:
        ConfigError: If there is no such device here.
    """
    if name is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise ConfigError(
            f'--device {name}: no such device here; there is cpu'
            + ''.join(f', cuda:{i}' for i in range(gpus))
        ) from error
    return device


def inference_pipeline(cfg: Config) -> list[dict]:
    """The config's test pipeline without annotations, and without a cache.

    Raises:
        ConfigError: If there is none.
    """
    pipeline = _dataset_node(cfg).get('pipeline')
    if not pipeline:
        raise ConfigError('test_dataloader.dataset.pipeline: inference needs a test pipeline')
    nodes = []
    for node in pipeline:
        kind = str(node['type']).rpartition('.')[2]
        if kind == 'LoadAnnotations':
            continue
        if kind == 'CachedLoadImage':
            options = {key: value for key, value in node.items() if key != 'max_mb'}
            node = dict(options, type='LoadImageFromFile')
        nodes.append(dict(node))
    return nodes


def class_names(cfg: Config, checkpoint_meta: Mapping) -> tuple[str, ...]:
    """The names of the classes: the checkpoint's, else the data set's, else numbers.

    A source with another number of classes than the head is passed over.
    """
    saved = checkpoint_meta.get('dataset_meta') or {}
    node = _dataset_node(cfg)
    kind = DATASETS.get(node['type']) if node.get('type') else None
    # OpenMMLab 2 wrote the names in lower case, OpenMMLab 1 beside the rest of the meta.
    sources = (
        saved.get('classes') or saved.get('CLASSES') or checkpoint_meta.get('CLASSES'),
        (node.get('metainfo') or {}).get('classes'),
        getattr(kind, 'METAINFO', {}).get('classes'),
    )
    heads = (cfg.model, cfg.model.get('roi_head') or {})
    count = next((h['bbox_head'].get('num_classes') for h in heads if h.get('bbox_head')), None)
    for classes in sources:
        if classes and count in (None, len(classes)):
            return tuple(classes)
    return tuple(str(i) for i in range(count or 0))


def _dataset_node(cfg: Config) -> Mapping:
    """The innermost data set of the test (or validation) loader."""
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    node = loader.get('dataset') or {}
    while 'pipeline' not in node and ('dataset' in node or 'datasets' in node):
        node = node['dataset'] if 'dataset' in node else node['datasets'][0]
    return node


def category_ids(classes: Sequence[str]) -> list[int]:
    """The category of each label: COCO's own numbers for its classes, else 1, 2, 3 ..."""
    if tuple(classes) == COCO_CLASSES:
        return [i for i in range(1, 91) if i not in _COCO_GAPS]
    return list(range(1, len(classes) + 1))


def result_rows(sample: DetDataSample, image: int, name: str, ids: Sequence[int]) -> list[dict]:
    """The detections of one image as rows of a COCO results file, best first.

    ``bbox`` is x, y, width, height in pixels; ``file_name`` is an addition. Persons have their
    ``keypoints`` x, y, score, one after the other; a joint that was not found is 0, 0, 0.
    """
    found = predictions_of(sample)
    rows = zip(found['bboxes'].tolist(), found['scores'].tolist(), found['labels'].tolist())
    results: list[dict] = [
        dict(
            image_id=image,
            category_id=ids[label],
            bbox=[round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
            score=round(score, 5),
            file_name=name,
        )
        for (x1, y1, x2, y2), score, label in rows
    ]
    if 'keypoints' in sample.pred_instances:
        points = to_numpy(sample.pred_instances.keypoints)
        scores = to_numpy(sample.pred_instances.keypoint_scores)[..., None]
        joints = np.where(scores > 0, np.concatenate((points, scores), axis=2), 0)
        for row, person in zip(results, joints):
            row['keypoints'] = [round(float(v), 3) for v in person.reshape(-1)]
    return results
