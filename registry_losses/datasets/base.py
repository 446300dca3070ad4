"""The base of the detection data sets: keyed randomness and one transform registry."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from mmengine import fileio
from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import print_log

from ..errors import DamagedImageError, DataError
from ..registry import TRANSFORMS
from .class_names import Missing, log_counts, with_palette
from .keys import REFETCH_STREAM, SampleKey

# So many damaged images are never too many, however small the data set.
_DAMAGED = 10


class DetDataset(BaseDataset):
    """MMEngine's ``BaseDataset`` whose samples carry their random generator.

    ``data_info['rng']`` is a ``numpy.random.Generator`` keyed by (seed, epoch, index)
    when the index is a :class:`SampleKey`, as ``KeyedSampler`` yields it. With a plain
    index in training mode it is absent, and transforms draw from NumPy's global state
    as they do elsewhere; in test mode a plain index counts as seed 0, epoch 0.

    ``data_info['dataset']`` is this data set, from which Mosaic and MixUp draw partners.

    Args:
        ann_file: Annotation file, relative to ``data_root``.
        metainfo: ``classes`` and ``palette`` that replace the defaults.
        data_root: Folder that the other paths are relative to.
        data_prefix: ``dict(img=...)``, the folder of the images.
        filter_cfg: ``filter_empty_gt`` (bool) drops images without an object,
            ``min_size`` (int, pixels) those with a side below it. Training mode only.
        indices: Keep the first n (last n if negative) or the listed samples.
        serialize_data: Hold the list as bytes that worker processes share.
        pipeline: Transforms, as objects or config nodes.
        test_mode: Keep every image and fail on one that cannot be used.
        lazy_init: Do not read the annotation file yet.
        max_refetch: How many other samples to try when a transform returns None.
        backend_args: Passed to ``mmengine.fileio``.
        check_images: Look for every image file when the annotations are read, not first
            when it is needed.
        strict: Raise where an annotation would be dropped.
        missing_classes: What a chosen class is that the files do not have: ``'error'``,
            ``'error_if_near'`` (only if a name much like it is there) or ``'warn'``.
            Default: the first for training, the second in test mode.

    A subclass implements :meth:`read_annotations`.

    A damaged image (cut off, not decodable) costs itself alone. Training takes another
    sample in its place; a test sees a grey image, so that its objects count as missed.
    A warning names each. A tenth of a data set damaged is an error.
    """

    def __init__(
        self,
        ann_file: str = '',
        metainfo: Mapping | None = None,
        data_root: str = '',
        data_prefix: Mapping[str, str] | None = None,
        filter_cfg: Mapping[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
        *,
        backend_args: Mapping | None = None,
        check_images: bool = False,
        strict: bool = False,
        missing_classes: Missing | None = None,
    ) -> None:
        self.backend_args = dict(backend_args) if backend_args else None
        self.check_images = check_images
        self.strict = strict
        self.explicit_classes = 'classes' in (metainfo or {})
        self.missing_classes = _missing_classes(missing_classes, test_mode)
        self._damaged: set[str] = set()
        _check_filter_cfg(filter_cfg)
        super().__init__(
            ann_file=ann_file,
            metainfo=with_palette(metainfo),
            data_root=data_root,
            data_prefix=dict(data_prefix or {'img': ''}),
            filter_cfg=dict(filter_cfg) if filter_cfg else None,
            indices=indices,
            serialize_data=serialize_data,
            # MMEngine's Compose builds from the root registry, where mmcv's classes of
            # the same names live; ours has to be asked first.
            pipeline=[TRANSFORMS.build(t) if isinstance(t, Mapping) else t for t in pipeline],
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )
        self.pipeline: Compose

    _fully_initialized: bool = False

    def full_init(self) -> None:
        """Read, filter, slice and serialise the annotations; an empty result raises."""
        if self._fully_initialized:
            return
        self.data_list = self.load_data_list()
        loaded = len(self.data_list)
        self.data_list = self.filter_data()
        if not self.data_list:
            raise DataError(
                f'{self.ann_file}: expected at least one image, got none '
                f'({loaded} read, {loaded} removed by filter_cfg={self.filter_cfg})'
            )
        if self._indices is not None:
            self.data_list = self._get_unserialized_subset(self._indices)
        if self.serialize_data:
            self.data_bytes, self.data_address = self._serialize_data()
        self._fully_initialized = True

    def load_data_list(self) -> list[dict]:
        """Read the annotations, check that the images are there, say how many of what."""
        images = self.read_annotations()
        if self.check_images:
            self._check_images(images)
        log_counts(self.ann_file, images, self._metainfo['classes'])
        return images

    def read_annotations(self) -> list[dict]:
        """``dict(img_id, img_path, height, width, instances)`` of every image."""
        raise NotImplementedError(f'{type(self).__name__} has to implement read_annotations')

    def _check_images(self, images: list[dict]) -> None:
        missing = [
            image
            for image in images
            if not fileio.exists(image['img_path'], backend_args=self.backend_args)
        ]
        if missing:
            examples = ', '.join(f'{m["img_path"]} (image {m["img_id"]})' for m in missing[:3])
            raise DataError(
                f'{self.ann_file}: {len(missing)} of {len(images)} image files are missing, '
                f'e.g. {examples}; check data_prefix'
            )

    def filter_data(self) -> list[dict]:
        """Apply ``filter_cfg``; test sets stay whole."""
        if self.test_mode or not self.filter_cfg:
            return self.data_list
        min_size = self.filter_cfg.get('min_size', 0)
        need_gt = self.filter_cfg.get('filter_empty_gt', False)
        kept = []
        for info in self.data_list:
            if min(info['height'], info['width']) < min_size:
                continue
            if need_gt and not any(not i['ignore_flag'] for i in info['instances']):
                continue
            kept.append(info)
        return kept

    def get_data_info(self, idx: int) -> dict:
        """The annotation of one sample, with its ``rng`` when there is a key."""
        info = super().get_data_info(int(idx))
        if isinstance(idx, SampleKey):
            info['rng'] = idx.rng()
        elif self.test_mode:
            info['rng'] = SampleKey(info['sample_idx']).rng()
        info['dataset'] = self
        return info

    def __getitem__(self, idx: int) -> dict:
        if not self._fully_initialized:
            self.full_init()
        data = self._prepare(idx)
        if data is not None:
            return data
        if self.test_mode:
            raise DataError(
                f'{self.ann_file}: a transform returned None for test sample {int(idx)}'
            )
        rng = _refetch_rng(idx)
        for _ in range(self.max_refetch):
            other = int(rng.integers(len(self)))
            data = self._prepare(idx.at(other) if isinstance(idx, SampleKey) else other)
            if data is not None:
                return data
        hint = f'damaged images: {sorted(self._damaged)[:3]}' if self._damaged else ''
        raise DataError(
            f'{self.ann_file}: no usable sample in {self.max_refetch + 1} tries '
            f'({hint or "some transform returns None for all of them"})'
        )

    def _prepare(self, idx: int) -> dict | None:
        """A sample through the pipeline; in place of a damaged image None, or grey in a test."""
        try:
            return self.prepare_data(idx)
        except DamagedImageError as error:
            self.note_damaged(str(error))
        if not self.test_mode:
            return None
        return self.pipeline({**self.get_data_info(idx), 'damaged': True})

    def note_damaged(self, message: str) -> None:
        """Warn of a damaged image, once; too many are an error."""
        if message in self._damaged:
            return
        self._damaged.add(message)
        if len(self._damaged) > max(_DAMAGED, len(self) // 10):
            raise DataError(
                f'{self.ann_file}: {len(self._damaged)} of {len(self)} images are damaged, '
                f'e.g. {message}'
            )
        instead = 'counted as one without detections' if self.test_mode else 'left out'
        print_log(f'{message}; it is {instead}', logger='current', level=logging.WARNING)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of a sample's objects, for class-balanced wrappers."""
        instances = super().get_data_info(int(idx))['instances']
        return [i['bbox_label'] for i in instances if not i['ignore_flag']]


def _missing_classes(choice: Missing | None, test_mode: bool) -> Missing:
    if choice is None:
        return 'error_if_near' if test_mode else 'error'
    if choice not in get_args(Missing):
        raise ValueError(f'missing_classes: expected one of {get_args(Missing)}, got {choice!r}')
    return choice


def _check_filter_cfg(filter_cfg: Mapping[str, Any] | None) -> None:
    unknown = set(filter_cfg or ()) - {'filter_empty_gt', 'min_size'}
    if unknown:
        raise ValueError(
            f'filter_cfg: expected the keys filter_empty_gt and min_size, got {sorted(unknown)}'
        )


def _refetch_rng(idx: int) -> np.random.Generator:
    if isinstance(idx, SampleKey):
        return idx.rng(stream=REFETCH_STREAM)
    return np.random.default_rng(np.random.randint(2**31))
