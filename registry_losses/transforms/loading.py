"""From files and annotation lists to arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms import LoadImageFromFile as _LoadImageFromFile

from ..errors import DamagedImageError, DataError
from ..registry import TRANSFORMS
from .ignored_mask import load_ignored_mask
from .image_file import read_image


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

    Sets ``img (H, W, 3)`` uint8, ``img_shape`` and ``ori_shape``, both (h, w), and
    ``exif_turned``, whether the image is turned as its EXIF tag says: of the two
    orientations the one that the annotations' height and width fit.

    Raises:
        DamagedImageError: If the file cannot be decoded or was cut off. Data sets of this
            package then take another sample (in tests: a grey image) and warn.
        DataError: If there is no such file, or its size is not the annotations'.
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
        if results.get('damaged'):
            image, turned = _grey(results, self.color_type), True
        else:
            try:
                image, turned = read_image(
                    results['img_path'],
                    flag=self.color_type,
                    decoder=self.imdecode_backend,
                    size=_noted_size(results),
                    backend_args=self.backend_args,
                )
            except FileNotFoundError as error:
                if self.ignore_empty:
                    return None
                raise DataError(
                    f'{_where(results)}: image file not found; check data_root and data_prefix'
                ) from error
            except DamagedImageError as error:
                if self.ignore_empty:
                    return None
                reason = str(error).removeprefix(f'{results["img_path"]}: ')
                raise DamagedImageError(f'{_where(results)}: {reason}') from error
            except (OSError, KeyError, ValueError, ImportError) as error:
                # A folder, a loop of links, a storage that is not there: no image of its own.
                raise DataError(
                    f'{_where(results)}: cannot be read ({type(error).__name__}: {error})'
                ) from error
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        results['exif_turned'] = turned
        _check_size(results)
        return results


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
        self._turned: dict[str, bool] = {}

    def transform(self, results: dict) -> dict | None:
        """Load, or copy from the cache; later transforms may change the copy in place."""
        path = results['img_path']
        cached = self._cache.get(path)
        if cached is None:
            if super().transform(results) is None:
                return None
            cached = results['img']
            if results.get('damaged'):
                return results
            if cached.nbytes <= self._room:
                self._room -= cached.nbytes
                self._cache[path] = cached
                self._turned[path] = results['exif_turned']
        else:
            results['exif_turned'] = self._turned[path]
        results['img'] = cached.astype(np.float32) if self._float_after else cached.copy()
        results['img_shape'] = results['ori_shape'] = cached.shape[:2]
        return results

    def __getstate__(self) -> dict:
        # Workers started by spawn fill their own cache instead of receiving ours.
        return {**self.__dict__, '_cache': {}, '_turned': {}}


def _where(results: dict) -> str:
    image = f'image {results["img_id"]}, ' if 'img_id' in results else ''
    ann_file = getattr(results.get('dataset'), 'ann_file', None)
    return f'{ann_file + ", " if ann_file else ""}{image}{results["img_path"]}'


def _noted_size(results: dict) -> tuple[int, int] | None:
    """(height, width) of the annotations, where they have it."""
    if 'height' not in results or 'width' not in results:
        return None
    return results['height'], results['width']


def _grey(results: dict, color_type: str) -> np.ndarray:
    """What a test sees in place of a damaged image."""
    height, width = _noted_size(results) or (64, 64)
    channels = () if color_type.startswith('grayscale') else (3,)
    return np.full((height, width, *channels), 114, np.uint8)


def _check_size(results: dict) -> None:
    """A size other than the annotation's means that its boxes do not fit the pixels."""
    noted, found = _noted_size(results), results['img'].shape[:2]
    if noted is not None and noted != tuple(found):
        raise DataError(
            f'{_where(results)}: the annotations say {noted[1]} x {noted[0]} (width x height), '
            f'the file is {found[1]} x {found[0]}; was the image resized after it was annotated?'
        )


@TRANSFORMS.register_module()
class LoadAnnotations(BaseTransform):
    """Turns ``results['instances']`` into the arrays the other transforms know.

    Sets ``gt_bboxes (n, 4)`` float32 xyxy, ``gt_bboxes_labels (n,)`` int64 and
    ``gt_ignore_flags (n,)`` bool; where an object has a weight, ``gt_weights (n,)``
    float32 (1 for those without); with keypoints also ``gt_keypoints (n, V, 2)`` float32
    and ``gt_keypoints_visible (n, V)`` float32 (0 unlabelled, 1 hidden, 2 visible), and where
    a crowd or a person without a joint has a segmentation, ``gt_ignored_mask (H, W)`` uint8.

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
            if any('weight' in i for i in instances):
                weights = [i.get('weight', 1.0) for i in instances]
                results['gt_weights'] = np.array(weights, np.float32)
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
        if any(instance.get('segmentation') for instance in instances):
            load_ignored_mask(results, instances, _where(results))

    @staticmethod
    def _count_from_dataset(results: dict) -> int:
        metainfo = getattr(results.get('dataset'), '_metainfo', None) or {}
        return int(metainfo.get('num_keypoints', 17))
