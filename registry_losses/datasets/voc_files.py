"""The files of a VOC-like data set: images by name, and objects out of their XML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from mmengine import fileio

from .annotations import check_box, read_flag_of, read_value
from .problems import Problems
from .values import read_weight

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm')


class ImageFiles:
    """The image files of a folder, found by name whatever their suffix.

    Args:
        folder: Where they are, in subfolders too.
        backend_args: Passed to ``mmengine.fileio``.
    """

    def __init__(self, folder: str, *, backend_args: Mapping | None = None) -> None:
        self.folder = folder
        self._by_name: dict[str, str] = {}
        if not fileio.isdir(folder, backend_args=backend_args):
            return
        paths = fileio.list_dir_or_file(
            folder, list_dir=False, recursive=True, backend_args=backend_args
        )
        # JPEG first where there are several of one name, as the format has it.
        for path in sorted(paths, key=_suffix_rank, reverse=True):
            if _suffix_rank(path) < len(IMAGE_SUFFIXES):
                self._by_name[path.rpartition('.')[0]] = path

    def find(self, name: str, noted: str = '') -> str:
        """The path of an image; where there is none, what it is expected to be.

        Args:
            name: Without the suffix.
            noted: The file name that the annotation notes.
        """
        stem, _, suffix = noted.strip().rpartition('.')
        default = f'{name}.{suffix}' if stem == name and suffix else f'{name}.jpg'
        return fileio.join_path(self.folder, self._by_name.get(name, default))


def _suffix_rank(path: str) -> int:
    suffix = f'.{path.rpartition(".")[2].lower()}'
    return IMAGE_SUFFIXES.index(suffix) if suffix in IMAGE_SUFFIXES else len(IMAGE_SUFFIXES)


def name_of(node: ElementTree.Element) -> str:
    """The class of an ``<object>``, without blanks around it; '' where it has none."""
    return (node.findtext('name') or '').strip()


def read_object(
    node: ElementTree.Element,
    label: int,
    width: int,
    height: int,
    problems: Problems,
    ids: dict[str, Any],
) -> dict | None:
    """An ``<object>`` as an instance, or None when it has to be dropped."""
    try:
        keys = ('xmin', 'ymin', 'xmax', 'ymax')
        corners = [float(node.findtext(f'bndbox/{k}') or '') for k in keys]
    except ValueError as error:
        raise problems.fail('expected bndbox with xmin, ymin, xmax, ymax', **ids) from error
    x1, y1, x2, y2 = corners[0] - 1, corners[1] - 1, corners[2], corners[3]
    box = check_box((x1, y1, x2 - x1, y2 - y1), width, height, problems, ids)
    if box is None:
        return None
    flags = {'difficult': node.findtext('difficult') or 0}
    if isinstance(flags['difficult'], str) and flags['difficult'].strip() in ('0', '1'):
        flags['difficult'] = int(flags['difficult'])  # text is all that XML has
    difficult = read_flag_of(flags, 'difficult', problems, ids)
    instance: dict[str, Any] = dict(bbox=box, bbox_label=label, ignore_flag=int(difficult))
    weight = node.findtext('weight')
    if weight is not None:
        instance['weight'] = read_value('weight', weight, read_weight, problems, ids)
    return instance
