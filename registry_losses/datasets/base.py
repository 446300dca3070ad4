"""The base of the detection data sets: keyed randomness and one transform registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, Compose

from ..errors import DataError
from ..registry import TRANSFORMS
from .keys import REFETCH_STREAM, SampleKey


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
    ) -> None:
        self.backend_args = dict(backend_args) if backend_args else None
        _check_filter_cfg(filter_cfg)
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
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
        data = self.prepare_data(idx)
        if data is not None:
            return data
        if self.test_mode:
            raise DataError(
                f'{self.ann_file}: a transform returned None for test sample {int(idx)}'
            )
        rng = _refetch_rng(idx)
        for _ in range(self.max_refetch):
            other = int(rng.integers(len(self)))
            data = self.prepare_data(idx.at(other) if isinstance(idx, SampleKey) else other)
            if data is not None:
                return data
        raise DataError(
            f'{self.ann_file}: no usable sample in {self.max_refetch + 1} tries '
            '(some transform returns None for all of them)'
        )

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of a sample's objects, for class-balanced wrappers."""
        instances = super().get_data_info(int(idx))['instances']
        return [i['bbox_label'] for i in instances if not i['ignore_flag']]


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
