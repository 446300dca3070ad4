"""PASCAL VOC: one XML file an image."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

import mmcv
from mmengine import fileio
from typing_extensions import Unpack

from ..errors import DataError
from ..registry import DATASETS
from .annotations import Repeats
from .base import DetDataset
from .class_names import log_skipped, match_classes, nearest_hint, with_palette
from .metainfo import VOC_CLASSES, make_palette
from .options import DatasetOptions
from .problems import Problems
from .texts import decode, parse_xml
from .values import read_size
from .voc_files import IMAGE_SUFFIXES, ImageFiles, name_of, read_object

# "000012 -1" in the lists of one class: the name, and whether the class is in the image.
_WITH_COLUMN = re.compile(r'(.*\S)\s+(-1|0|1)')


@DATASETS.register_module()
class VOCDataset(DetDataset):
    """PASCAL VOC 2007 / 2012 and whatever has its form; ``difficult`` objects are ignored.

    Expects ``data_prefix=dict(sub_data_root='VOC2007/')`` with ``JPEGImages`` and
    ``Annotations`` below it, and ``ann_file='VOC2007/ImageSets/Main/trainval.txt'``,
    a list of image names, which may hold blanks. Images may be JPEG, PNG and so on,
    whatever the case of their suffix. Boxes in the files are 1-based and inclusive; they
    become xyxy with ``x1 - 1, y1 - 1, x2, y2``, so a box of one pixel has area 1.

    Samples are as those of :class:`CocoDataset`. Difficult objects become ignore
    regions; an optional tag ``weight`` says how much an object counts in training.

    With the default 20 classes an object of another name raises. With chosen ones
    (``metainfo=dict(classes=...)``, a subset or another label set) it is skipped, and a
    warning counts what was, unless a chosen class matches nothing.

    Deviation from mmdet, which subtracts 1 from all four: that loses a row and a column.

    Args:
        ann_file: Text file of image names, one a line (a column 1, 0 or -1 is skipped), or
            a folder of XML files, of which all are read.
        data_root: Folder that the other paths are relative to.
        data_prefix: ``dict(sub_data_root=...)``.
        img_subdir: Folder of the images.
        ann_subdir: Folder of the XML files.
        **common: What data sets have in common, see :class:`DatasetOptions`.

    Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010.
    """

    METAINFO: dict = dict(classes=VOC_CLASSES, palette=make_palette(len(VOC_CLASSES)))

    def __init__(
        self,
        ann_file: str = '',
        *,
        data_root: str = '',
        data_prefix: Mapping[str, str] | None = None,
        img_subdir: str = 'JPEGImages',
        ann_subdir: str = 'Annotations',
        **common: Unpack[DatasetOptions],
    ) -> None:
        self.img_subdir = img_subdir
        self.ann_subdir = ann_subdir
        super().__init__(
            ann_file,
            data_root=data_root,
            data_prefix=data_prefix or {'sub_data_root': ''},
            **common,
        )

    def names_of_objects(self) -> tuple[str, ...]:
        """The names that occur in the files, sorted; for a data set made with ``lazy_init``."""
        trees = [self._tree(name) for name in self._names(Problems(self.ann_file))]
        found = {name_of(node) for tree in trees for node in tree.iter('object')}
        return tuple(sorted(found - {''}))

    def use_classes(self, classes: Sequence[str]) -> None:
        """Choose the classes of a data set made with ``lazy_init``."""
        self._metainfo.update(with_palette(dict(classes=tuple(classes))) or {})
        self.explicit_classes = True

    @property
    def _ann_dir(self) -> str:
        return fileio.join_path(self.data_prefix['sub_data_root'], self.ann_subdir)

    @property
    def _img_dir(self) -> str:
        return fileio.join_path(self.data_prefix['sub_data_root'], self.img_subdir)

    def read_annotations(self) -> list[dict]:
        """Read every XML file of the list."""
        problems = self.problems = Problems(self.ann_file, strict=self.strict)
        trees = [(name, self._tree(name)) for name in self._names(problems)]
        found = Counter(name_of(node) for _, tree in trees for node in tree.iter('object'))
        if not self.explicit_classes:
            self._check_names(trees)
        label_of = match_classes(
            found,
            self._metainfo['classes'],
            path=self.ann_file,
            explicit=self.explicit_classes,
            lists_all=False,
            missing=self.missing_classes,
        )
        files = ImageFiles(self._img_dir, backend_args=self.backend_args)
        repeated = Repeats()
        data = [self._image(name, tree, files, label_of, repeated) for name, tree in trees]
        problems.log(sum(found.values()))
        skipped = {name: n for name, n in found.items() if name not in label_of}
        log_skipped(self.ann_file, skipped, sum(found.values()))
        return data

    def _check_names(self, trees: Sequence[tuple[str, ElementTree.Element]]) -> None:
        """The first object whose name the default classes lack is an error."""
        classes = self._metainfo['classes']
        for image, tree in trees:
            for number, node in enumerate(tree.iter('object')):
                if name_of(node) not in classes:
                    raise self.problems.fail(
                        f'unknown class {nearest_hint(name_of(node), classes)}; '
                        'give metainfo=dict(classes=...)',
                        image=image,
                        annotation=number,
                    )

    def _names(self, problems: Problems) -> Iterator[str]:
        """The image names of the list, once each."""
        if not self._exists(self.ann_file):
            raise DataError(f'annotation list not found: {self.ann_file}; check ann_file')
        seen = set()
        for line in self._lines():
            name = self._name(line.strip())
            if name in seen:
                problems.change('of an image that the list repeats', image=name, annotation='all')
            elif name:
                seen.add(name)
                yield name

    def _lines(self) -> list[str]:
        """The lines of the list, or the names of the XML files of a folder."""
        if fileio.isdir(self.ann_file, backend_args=self.backend_args):
            files = fileio.list_dir_or_file(
                self.ann_file,
                list_dir=False,
                suffix='.xml',
                recursive=True,
                backend_args=self.backend_args,
            )
            return sorted(files)
        content = fileio.get(self.ann_file, backend_args=self.backend_args)
        return decode(content, self.ann_file).splitlines()

    def _name(self, line: str) -> str:
        """The image that a line names: without the column of class lists or a suffix."""
        column = _WITH_COLUMN.fullmatch(line)
        if column and not self._exists(self._xml(line)):
            line = column[1]
        stem, dot, suffix = line.rpartition('.')
        if dot and f'.{suffix.lower()}' in (*IMAGE_SUFFIXES, '.xml'):
            return line if self._exists(self._xml(line)) else stem
        return line

    def _xml(self, name: str) -> str:
        return fileio.join_path(self._ann_dir, f'{name}.xml')

    def _exists(self, path: str) -> bool:
        return fileio.exists(path, backend_args=self.backend_args)

    def _tree(self, name: str) -> ElementTree.Element:
        path = self._xml(name)
        if not self._exists(path):
            raise DataError(f'{self.ann_file}, image {name}: no annotation file {path}')
        content = fileio.get(path, backend_args=self.backend_args)
        tree = parse_xml(content, f'{path}, image {name}')
        if tree.tag != 'annotation' and tree.find('.//object') is None:
            raise DataError(f'{path}, image {name}: expected <annotation>, got <{tree.tag}>')
        return tree

    def _image(
        self,
        name: str,
        tree: ElementTree.Element,
        files: ImageFiles,
        label_of: Mapping[str, int],
        repeated: Repeats,
    ) -> dict:
        img_path = files.find(name, tree.findtext('filename') or '')
        width, height = self._size(name, tree, img_path)
        instances = []
        for number, node in enumerate(tree.iter('object')):
            label = label_of.get(name_of(node))
            if label is None:
                continue
            ids = dict(image=name, annotation=number)
            instance = read_object(node, label, width, height, self.problems, ids)
            if instance is not None and repeated.is_new(name, instance, self.problems, ids):
                instances.append(instance)
        return dict(img_id=name, img_path=img_path, height=height, width=width, instances=instances)

    def _size(self, name: str, tree: ElementTree.Element, img_path: str) -> tuple[int, int]:
        """(width, height) as the XML says, or as the image is where it says nothing usable."""
        noted = tree.findtext('size/width'), tree.findtext('size/height')
        try:
            return read_size(noted[0]), read_size(noted[1])
        except ValueError as error:
            # Some VOC-like files leave the size at 0: only the image knows it then.
            if not self._exists(img_path):
                where = f'{self._xml(name)}, image {name}: size: {error}'
                raise DataError(f'{where}, and there is no image {img_path} to ask') from error
        image = mmcv.imfrombytes(fileio.get(img_path, backend_args=self.backend_args))
        if image is None:
            raise DataError(f'{self._xml(name)}, image {name}: no size, and {img_path} is damaged')
        return image.shape[1], image.shape[0]
