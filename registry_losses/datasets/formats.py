"""Reads a data set in whichever format it is: COCO json, VOC XML, or YOLO text.

Boxes are xyxy in pixels throughout.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from .coco import CocoDataset
from .voc import VOCDataset
from .yolo_text import list_images, read_yolo, yolo_classes

FORMATS = ('coco', 'voc', 'yolo')


@dataclass(frozen=True)
class DatasetContent:
    """The images of a data set and what is on them.

    Args:
        kind: One of :data:`FORMATS`.
        source: The file or folder it was read from.
        classes: The names of the labels.
        images: ``dict(img_id, img_path, height, width, instances)`` of each, as data sets
            of this package have them.
        root: The folder that image files are relative to.
    """

    kind: str
    source: str
    classes: tuple[str, ...]
    images: list[dict]
    root: Path


def find_format(source: str | Path) -> str:
    """Which of :data:`FORMATS` a file or folder is.

    A ``.json`` is COCO. A folder with XML files, or with ``Annotations``, and a list below
    ``ImageSets`` are VOC; a folder with a ``labels`` folder beside or in it, and a list of
    image files that have one, are YOLO text.

    Raises:
        DataError: If it is none of them; says what was looked for.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f'{source}: no such file or folder')
    if path.is_file():
        if path.suffix == '.json':
            return 'coco'
        if path.suffix in ('.yaml', '.yml'):
            return 'yolo'
        if voc_root(path) is not None:
            return 'voc'
        if path.suffix == '.txt':
            return 'yolo'
    elif any(path.glob('*.xml')) or (path / 'Annotations').is_dir():
        return 'voc'
    elif (path / 'labels').is_dir() or 'images' in path.parts or any(path.glob('*.txt')):
        return 'yolo'
    raise DataError(
        f'{source}: neither a COCO json, nor VOC (a list below ImageSets, or a folder with '
        'Annotations or XML files), nor YOLO text (a folder with images and labels)'
    )


def voc_root(path: Path) -> Path | None:
    """The folder with ``Annotations`` above a VOC list or folder."""
    for folder in (path, *path.parents[:4]):
        if (folder / 'Annotations').is_dir():
            return folder
    return None


def read_dataset(
    source: str | Path, *, images: str | Path | None = None, classes: Sequence[str] | None = None
) -> DatasetContent:
    """Read a data set of any format.

    Args:
        source: A COCO json; a VOC list, folder, or ``Annotations`` folder; a YOLO folder, list
            of images, or yaml.
        images: Folder of the images, where it is not found by itself.
        classes: Names, in the order of the labels. Default: the file's (COCO, YOLO), or
            all names that occur, sorted (VOC).

    Raises:
        DataError: Whatever is wrong, by file, image and key.
    """
    if images is not None and not Path(images).is_dir():
        raise DataError(f'{images}: no such folder of images')
    kind = find_format(source)
    if kind == 'coco':
        return _read_coco(Path(source), images, classes)
    if kind == 'voc':
        return _read_voc(Path(source), images, classes)
    names = tuple(classes or yolo_classes(Path(source)))
    files = list_images(Path(source), images)
    root = Path(images) if images else _common_folder(files)
    return DatasetContent('yolo', str(source), names, read_yolo(files, names), root)


def _read_coco(path: Path, images: str | Path | None, classes: Sequence[str] | None):
    content = _json(path)
    names = tuple(classes or (str(c['name']).strip() for c in content.get('categories', [])))
    if not names:
        raise DataError(f'{path}: expected categories, got none')
    first = next((str(i.get('file_name', '')) for i in content.get('images', [])), '')
    root = Path(images) if images else find_images_of(path, first)
    dataset = CocoDataset(
        str(path.absolute()),
        metainfo=dict(classes=names),
        data_prefix=dict(img=str(root.absolute())),
        test_mode=True,
        serialize_data=False,
    )
    return DatasetContent('coco', str(path), names, dataset.data_list, root)


def _json(path: Path) -> dict:
    from .coco_reader import load_json

    content = load_json(str(path))
    if not isinstance(content, dict):
        raise DataError(f'{path}: expected a COCO json, got a {type(content).__name__}')
    return content


def find_images_of(path: Path, first: str) -> Path:
    """The folder that ``file_name`` of a COCO json is relative to: where the first one is.

    Raises:
        DataError: If it is nowhere near; names the folders looked at.
    """
    stem = path.stem.removeprefix('instances_')
    near = [path.parent, path.parent.parent]
    names = ('', 'images', stem, f'images/{stem}', 'JPEGImages', 'img', 'data')
    folders = [folder / name for folder in near for name in names]
    for folder in folders:
        if (folder / first).is_file():
            return folder
    looked = ', '.join(str(f) for f in folders[:7])
    raise DataError(f'{path}: the image {first!r} is not in {looked}; give --images FOLDER')


def _read_voc(path: Path, images: str | Path | None, classes: Sequence[str] | None):
    root = voc_root(path) or path
    plain = root / 'Annotations' if (root / 'Annotations').is_dir() else root
    subdir = Path(images).absolute() if images else root / 'JPEGImages'
    if not subdir.is_dir():
        subdir = plain
    dataset = VOCDataset(
        str(path.absolute() if path.is_file() else plain.absolute()),
        metainfo=None if classes is None else dict(classes=tuple(classes)),
        data_prefix=dict(sub_data_root=str(root.absolute())),
        img_subdir=str(subdir.absolute()),
        ann_subdir='.' if plain == root else 'Annotations',
        test_mode=True,
        serialize_data=False,
        lazy_init=True,
    )
    if classes is None:
        classes = dataset.names_of_objects()
        dataset.use_classes(classes)
    dataset.full_init()
    return DatasetContent('voc', str(path), tuple(classes), dataset.data_list, subdir)


def _common_folder(files: Sequence[Path]) -> Path:
    folder = files[0].parent
    while not all(folder in f.parents for f in files):
        folder = folder.parent
    return folder


def write_json(path: Path, content: dict) -> None:
    """Write a json, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')
