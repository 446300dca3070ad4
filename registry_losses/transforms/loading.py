"""From files and annotation lists to arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms import LoadImageFromFile as _LoadImageFromFile

from ..errors import DataError
from ..registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageFromFile(_LoadImageFromFile):
    """mmcv's loader with errors that name the image, and a check of its size.

    Args:
        to_float32: Convert to float32 (values stay 0 to 255).
        color_type: ``'color'`` (BGR), ``'grayscale'``, ``'unchanged'`` ...; see
            ``mmcv.imfrombytes``.
        imdecode_backend: ``'cv2'``, ``'pillow'``, ``'turbojpeg'`` or ``'tifffile'``.
        ignore_empty: Return None for a file that cannot be read, so that the data set
            takes another sample, instead of raising.
        backend_args: Passed to ``mmengine.fileio``.

    Sets ``img (H, W, 3)`` uint8, ``img_shape`` and ``ori_shape``, both (h, w).
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = 'color',
        imdecode_backend: str = 'cv2',
        ignore_empty: bool = False,
        *,
        backend_args: Mapping | None = None,
    ) -> None:
        super().__init__(
            to_float32=to_float32,
            color_type=color_type,
            imdecode_backend=imdecode_backend,
            ignore_empty=ignore_empty,
            backend_args=dict(backend_args) if backend_args else None,
        )

    def transform(self, results: dict) -> dict | None:
        """Load ``results['img_path']``."""
        path = results['img_path']
        try:
            loaded = super().transform(results)
        except FileNotFoundError as error:
            raise DataError(
                f'{_where(results)}: image file not found; check data_root and data_prefix'
            ) from error
        except Exception as error:
            raise DataError(f'{_where(results)}: cannot be decoded: {error}') from error
        if loaded is None or loaded['img'] is None:
            return None
        _check_size(loaded, path)
        return loaded


@TRANSFORMS.register_module()
class CachedLoadImage(LoadImageFromFile):
    """Loads each image once and keeps it decoded in memory.

    For data sets that fit: with several workers each holds its own copy. Once
    ``max_mb`` are full, further images are decoded each time (nothing is thrown out:
    with shuffled passes that would only churn).

    Args:
        max_mb: Memory for decoded images, in MB.
        to_float32: Convert to float32 after the cache, which holds uint8.
        color_type: See :class:`LoadImageFromFile`.
        imdecode_backend: See :class:`LoadImageFromFile`.
        ignore_empty: See :class:`LoadImageFromFile`.
        backend_args: Passed to ``mmengine.fileio``.
    """

    def __init__(
        self,
        max_mb: float = 2048,
        to_float32: bool = False,
        color_type: str = 'color',
        imdecode_backend: str = 'cv2',
        ignore_empty: bool = False,
        *,
        backend_args: Mapping | None = None,
    ) -> None:
        super().__init__(
            color_type=color_type,
            imdecode_backend=imdecode_backend,
            ignore_empty=ignore_empty,
            backend_args=backend_args,
        )
        self._float_after = to_float32
        self._room = int(max_mb * 2**20)
        self._cache: dict[str, np.ndarray] = {}

    def transform(self, results: dict) -> dict | None:
        """Load, or copy from the cache; later transforms may change the copy in place."""
        path = results['img_path']
        cached = self._cache.get(path)
        if cached is None:
            if super().transform(results) is None:
                return None
            cached = results['img']
            if cached.nbytes <= self._room:
                self._room -= cached.nbytes
                self._cache[path] = cached
        results['img'] = cached.astype(np.float32) if self._float_after else cached.copy()
        results['img_shape'] = results['ori_shape'] = cached.shape[:2]
        return results

    def __getstate__(self) -> dict:
        # Workers started by spawn fill their own cache instead of receiving ours.
        return {**self.__dict__, '_cache': {}}


def _where(results: dict) -> str:
    image = f'image {results["img_id"]}, ' if 'img_id' in results else ''
    ann_file = getattr(results.get('dataset'), 'ann_file', None)
    return f'{ann_file + ", " if ann_file else ""}{image}{results["img_path"]}'


def _check_size(results: dict, path: str) -> None:
    """A size other than the annotation's means that its boxes do not fit the pixels."""
    if 'height' not in results or 'width' not in results:
        return
    noted, found = (results['height'], results['width']), results['img'].shape[:2]
    if tuple(noted) != tuple(found):
        hint = ''
        if tuple(noted) == tuple(found[::-1]):
            hint = "; if an EXIF tag turns it, use color_type='color_ignore_orientation'"
        raise DataError(
            f'{_where(results)}: the annotations say {noted[1]} x {noted[0]} (width x height), '
            f'the file is {found[1]} x {found[0]}{hint}'
        )


@TRANSFORMS.register_module()
class LoadAnnotations(BaseTransform):
    """Turns ``results['instances']`` into the arrays the other transforms know.

    Sets ``gt_bboxes (n, 4)`` float32 xyxy, ``gt_bboxes_labels (n,)`` int64 and
    ``gt_ignore_flags (n,)`` bool; with keypoints also ``gt_keypoints (n, V, 2)`` float32
    and ``gt_keypoints_visible (n, V)`` float32 (0 unlabelled, 1 hidden, 2 visible).

    Args:
        with_bbox: Load boxes (with their labels and ignore flags).
        with_label: Kept for OpenMMLab configs; must equal ``with_bbox``.
        with_keypoints: Load keypoints; an instance without any gets V unlabelled ones.
        num_keypoints: V. Default: the data set's ``metainfo['num_keypoints']``, else 17.

    Raises:
        DataError: For a label that the data set's classes do not have.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool | None = None,
        with_keypoints: bool = False,
        *,
        num_keypoints: int | None = None,
    ) -> None:
        if with_label is not None and with_label != with_bbox:
            raise ValueError('LoadAnnotations: boxes and labels are loaded together')
        self.with_bbox = with_bbox
        self.with_keypoints = with_keypoints
        self.num_keypoints = num_keypoints

    def transform(self, results: dict) -> dict:
        """Build the arrays."""
        instances = results.get('instances', [])
        if self.with_bbox:
            boxes = np.array([i['bbox'] for i in instances], np.float32).reshape(-1, 4)
            results['gt_bboxes'] = boxes
            labels = np.array([i['bbox_label'] for i in instances], np.int64)
            self._check_labels(results, labels)
            results['gt_bboxes_labels'] = labels
            flags = [bool(i.get('ignore_flag', 0)) for i in instances]
            results['gt_ignore_flags'] = np.array(flags, bool)
        if self.with_keypoints:
            self._load_keypoints(results, instances)
        return results

    @staticmethod
    def _check_labels(results: dict, labels: np.ndarray) -> None:
        metainfo = getattr(results.get('dataset'), '_metainfo', None) or {}
        count = len(metainfo.get('classes', ())) or None
        if len(labels) and (labels.min() < 0 or (count and labels.max() >= count)):
            wrong = [int(v) for v in labels if v < 0 or (count and v >= count)]
            raise DataError(
                f'{_where(results)}: expected labels in [0, {count or "number of classes"}), '
                f'got {wrong[:5]}'
            )

    def _load_keypoints(self, results: dict, instances: list[dict]) -> None:
        count = self.num_keypoints or self._count_from_dataset(results)
        points = np.zeros((len(instances), count, 2), np.float32)
        visible = np.zeros((len(instances), count), np.float32)
        for row, instance in enumerate(instances):
            if not instance.get('keypoints'):
                continue
            if len(instance['keypoints']) != count:
                raise DataError(
                    f'{_where(results)}: expected {count} keypoints, got '
                    f'{len(instance["keypoints"])}; set num_keypoints'
                )
            points[row] = instance['keypoints']
            visible[row] = instance['keypoints_visible']
        results['gt_keypoints'] = points
        results['gt_keypoints_visible'] = visible

    @staticmethod
    def _count_from_dataset(results: dict) -> int:
        metainfo = getattr(results.get('dataset'), '_metainfo', None) or {}
        return int(metainfo.get('num_keypoints', 17))
