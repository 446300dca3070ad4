"""Data sets in COCO's json format."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine import fileio
from mmengine.logging import print_log

from ..errors import DataError
from ..registry import DATASETS
from .base import DetDataset
from .coco_reader import read_coco
from .metainfo import COCO_CLASSES, make_palette


@DATASETS.register_module()
class CocoDataset(DetDataset):
    """Boxes, crowd regions and keypoints out of any COCO-format json.

    Each sample is ``dict(img_id, img_path, height, width, instances)``; an instance has
    ``bbox`` (xyxy, pixels, clipped to the image), ``bbox_label``, ``ignore_flag`` (1 for
    ``iscrowd``) and, where annotated, ``keypoints`` ``[[x, y], ...]`` with
    ``keypoints_visible``.

    A file that cannot be used raises ``DataError`` naming the file, the image id and the
    annotation id: missing or broken json, unknown category, malformed box, duplicate
    image id. Annotations that merely carry nothing (no area, outside the image, not
    finite, exact copies) are dropped, and one log line says how many, why and which.

    Args:
        ann_file: The json, relative to ``data_root``.
        metainfo: ``dict(classes=(...), palette=[...])``. Classes are matched by name and
            may be a subset of the file's. Default: COCO's 80.
        data_root: Folder that the other paths are relative to.
        data_prefix: ``dict(img='train2017/')``.
        filter_cfg: See :class:`DetDataset`.
        indices: Keep the first n (last n if negative) or the listed samples.
        serialize_data: Hold the list as bytes that worker processes share.
        pipeline: Transforms.
        test_mode: Keep every image.
        lazy_init: Do not read the annotation file yet.
        max_refetch: How many other samples to try when a transform returns None.
        backend_args: Passed to ``mmengine.fileio``.
        check_images: Look for every image file when the annotations are read, not first
            when it is needed.
        strict: Raise where an annotation would be dropped.

    Source: https://cocodataset.org/#format-data.
    """

    METAINFO: dict = dict(classes=COCO_CLASSES, palette=make_palette(len(COCO_CLASSES)))

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
    ) -> None:
        self.check_images = check_images
        self.strict = strict
        self._explicit_classes = 'classes' in (metainfo or {})
        super().__init__(
            ann_file=ann_file,
            metainfo=with_palette(metainfo),
            data_root=data_root,
            data_prefix=data_prefix,
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=serialize_data,
            pipeline=pipeline,
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
            backend_args=backend_args,
        )

    def load_data_list(self) -> list[dict]:
        """Read the json; see :func:`read_coco` for what is checked."""
        images, info = read_coco(
            self.ann_file,
            self._metainfo['classes'],
            explicit_classes=self._explicit_classes,
            strict=self.strict,
            backend_args=self.backend_args,
        )
        self.cat_ids: list = info['cat_ids']
        self.problems = info['problems']
        for image in images:
            image['img_path'] = fileio.join_path(self.data_prefix['img'], image.pop('file_name'))
        if self.check_images:
            self._check_images(images)
        objects = sum(len(image['instances']) for image in images)
        print_log(
            f'{self.ann_file}: {len(images)} images, {objects} objects, '
            f'{len(self._metainfo["classes"])} classes',
            logger='current',
            level=logging.INFO,
        )
        return images

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


def with_palette(metainfo: Mapping | None) -> dict | None:
    """``metainfo`` with ``classes`` as a checked tuple, and a palette that fits it."""
    if not metainfo or 'classes' not in metainfo:
        return dict(metainfo) if metainfo else None
    classes = metainfo['classes']
    if isinstance(classes, str) or not all(isinstance(c, str) for c in classes):
        raise DataError(
            f'metainfo: expected classes as a tuple of names, got {classes!r}; '
            "write classes=('cat',) with the comma for a single class"
        )
    if not classes or len(set(classes)) != len(classes):
        raise DataError(f'metainfo: expected distinct classes, at least one, got {classes!r}')
    result = {**metainfo, 'classes': tuple(classes)}
    result.setdefault('palette', make_palette(len(classes)))
    return result
