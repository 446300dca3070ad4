"""PASCAL VOC: one XML file an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import mmcv
from mmengine import fileio

from ..errors import DataError
from ..registry import DATASETS
from .base import DetDataset
from .coco import with_palette
from .coco_reader import check_box
from .metainfo import VOC_CLASSES, make_palette
from .problems import Problems


@DATASETS.register_module()
class VOCDataset(DetDataset):
    """PASCAL VOC 2007 / 2012; ``difficult`` objects become ignore regions.

    Expects ``data_prefix=dict(sub_data_root='VOC2007/')`` with ``JPEGImages`` and
    ``Annotations`` below it, and ``ann_file='VOC2007/ImageSets/Main/trainval.txt'``,
    a list of image names. Boxes in the files are 1-based and inclusive; they become
    xyxy with ``x1 - 1, y1 - 1, x2, y2``, so a box of one pixel has area 1.

    Deviation from mmdet, which subtracts 1 from all four: that loses a row and a column.

    Args:
        ann_file: Text file of image names, one a line (a second column is skipped).
        metainfo: ``dict(classes=(...))``, a subset or another label set. With the default
            20 classes an object of another name raises; with chosen ones it is skipped.
        data_root: Folder that the other paths are relative to.
        data_prefix: ``dict(sub_data_root=...)``.
        filter_cfg: See :class:`DetDataset`.
        indices: Keep the first n (last n if negative) or the listed samples.
        serialize_data: Hold the list as bytes that worker processes share.
        pipeline: Transforms.
        test_mode: Keep every image.
        lazy_init: Do not read the annotations yet.
        max_refetch: How many other samples to try when a transform returns None.
        backend_args: Passed to ``mmengine.fileio``.
        img_subdir: Folder of the images.
        ann_subdir: Folder of the XML files.

    Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010.
    """

    METAINFO: dict = dict(classes=VOC_CLASSES, palette=make_palette(len(VOC_CLASSES)))

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
        img_subdir: str = 'JPEGImages',
        ann_subdir: str = 'Annotations',
    ) -> None:
        self.img_subdir = img_subdir
        self.ann_subdir = ann_subdir
        self._explicit_classes = 'classes' in (metainfo or {})
        super().__init__(
            ann_file=ann_file,
            metainfo=with_palette(metainfo),
            data_root=data_root,
            data_prefix=data_prefix or {'sub_data_root': ''},
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
        """Read every XML file of the list."""
        if not fileio.exists(self.ann_file, backend_args=self.backend_args):
            raise DataError(f'annotation list not found: {self.ann_file}; check ann_file')
        text = fileio.get_text(self.ann_file, backend_args=self.backend_args)
        names = [line.split()[0] for line in text.splitlines() if line.strip()]
        problems = Problems(self.ann_file)
        label_of = {name: i for i, name in enumerate(self._metainfo['classes'])}
        data = [self._load_image(name, label_of, problems) for name in names]
        self.problems = problems
        problems.log(sum(len(d['instances']) for d in data) + sum(problems.dropped.values()))
        return data

    def _load_image(self, name: str, label_of: Mapping[str, int], problems: Problems) -> dict:
        root = self.data_prefix['sub_data_root']
        xml_path = fileio.join_path(root, self.ann_subdir, f'{name}.xml')
        img_path = fileio.join_path(root, self.img_subdir, f'{name}.jpg')
        if not fileio.exists(xml_path, backend_args=self.backend_args):
            raise DataError(f'{self.ann_file}, image {name}: no annotation file {xml_path}')
        try:
            tree = ElementTree.fromstring(fileio.get(xml_path, backend_args=self.backend_args))
        except ElementTree.ParseError as error:
            raise DataError(f'{xml_path}, image {name}: broken XML: {error}') from error
        width, height = self._size(tree, img_path)
        instances = []
        for number, node in enumerate(tree.iter('object')):
            ids = dict(image=name, annotation=number)
            instance = self._instance(node, width, height, label_of, problems, ids)
            if instance is not None:
                instances.append(instance)
        return dict(img_id=name, img_path=img_path, height=height, width=width, instances=instances)

    def _size(self, tree: ElementTree.Element, img_path: str) -> tuple[int, int]:
        width, height = tree.findtext('size/width'), tree.findtext('size/height')
        if width and height and int(width) > 0 and int(height) > 0:
            return int(width), int(height)
        # Some VOC-like files leave the size at 0: only the image knows it then.
        image = mmcv.imfrombytes(fileio.get(img_path, backend_args=self.backend_args))
        return image.shape[1], image.shape[0]

    def _instance(
        self,
        node: ElementTree.Element,
        width: int,
        height: int,
        label_of: Mapping[str, int],
        problems: Problems,
        ids: dict[str, Any],
    ) -> dict | None:
        name = (node.findtext('name') or '').strip()
        if name not in label_of:
            if self._explicit_classes:
                return None
            raise problems.fail(f'unknown class {name!r}; give metainfo=dict(classes=...)', **ids)
        try:
            keys = ('xmin', 'ymin', 'xmax', 'ymax')
            corners = [float(node.findtext(f'bndbox/{k}') or '') for k in keys]
        except ValueError as error:
            raise problems.fail('expected bndbox with xmin, ymin, xmax, ymax', **ids) from error
        x1, y1, x2, y2 = corners[0] - 1, corners[1] - 1, corners[2], corners[3]
        box = check_box((x1, y1, x2 - x1, y2 - y1), width, height, problems, ids)
        if box is None:
            return None
        difficult = int(node.findtext('difficult') or 0)
        return dict(bbox=box, bbox_label=label_of[name], ignore_flag=int(bool(difficult)))
