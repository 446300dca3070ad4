"""Writes a data set in another format, and splits it by image.

Crowd regions and difficult objects stay what they are: ``iscrowd`` in COCO, ``difficult`` in
VOC, and lines in ``ignored/`` beside YOLO's ``labels/``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ..errors import DataError
from .formats import DatasetContent, write_json


def split_images(
    images: Sequence[dict], shares: dict[str, float], *, seed: int = 0
) -> dict[str, list[dict]]:
    """Images drawn into parts, each whole, the same for the same seed.

    Args:
        images: The images.
        shares: Name of a part to its share, with sum 1. Each part gets one image at least.
        seed: Of the drawing.

    Raises:
        DataError: If the shares are no shares, or there are fewer images than parts.

    Example:
        >>> parts = split_images([{'img_id': i} for i in range(10)], {'train': 0.8, 'val': 0.2})
        >>> {name: len(part) for name, part in parts.items()}
        {'train': 8, 'val': 2}
    """
    if any(share <= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise DataError(f'expected shares above 0 with sum 1, got {shares}')
    if len(images) < len(shares):
        raise DataError(f'{len(images)} images cannot be split into {len(shares)} parts')
    order = np.random.default_rng(seed).permutation(len(images))
    bounds = np.round(np.cumsum([0, *shares.values()]) * len(images)).astype(int)
    for i in range(1, len(bounds)):  # at least one each
        bounds[i] = min(max(bounds[i], bounds[i - 1] + 1), len(images) - len(shares) + i)
    parts = {}
    for name, low, high in zip(shares, bounds, bounds[1:]):
        parts[name] = [images[i] for i in sorted(order[low:high])]
    return parts


def write_dataset(
    content: DatasetContent,
    parts: dict[str, list[dict]],
    kind: str,
    out: str | Path,
    *,
    place: str = 'link',
) -> list[Path]:
    """Write parts of a data set as ``'coco'``, ``'voc'`` or ``'yolo'``.

    Args:
        content: The data set.
        parts: Name of a part to its images.
        kind: The format.
        out: Folder to write.
        place: How the images get there: ``'link'`` (symbolic), ``'copy'``, or ``'none'``,
            for COCO alone, whose file names are then relative to the old folder.

    Returns:
        What to give a data set: the jsons, the lists, or the yaml.
    """
    writers = dict(coco=_write_coco, voc=_write_voc, yolo=_write_yolo)
    if place == 'none' and kind != 'coco':
        raise DataError(f'{kind}: images have to lie beside the annotations; link or copy them')
    return writers[kind](content, parts, Path(out), place)


def coco_json(images: Sequence[dict], classes: Sequence[str], names: Sequence[str]) -> dict:
    """A COCO content: ids from 1, boxes xywh, ignore regions as crowds.

    Args:
        images: The images.
        classes: The names.
        names: ``file_name`` of each image.
    """
    annotations: list[dict] = []
    for number, image in enumerate(images, 1):
        for instance in image['instances']:
            x1, y1, x2, y2 = instance['bbox']
            annotation = dict(
                id=len(annotations) + 1,
                image_id=number,
                category_id=instance['bbox_label'] + 1,
                bbox=[_short(v) for v in (x1, y1, x2 - x1, y2 - y1)],
                area=_short((x2 - x1) * (y2 - y1)),
                iscrowd=instance['ignore_flag'],
            )
            if 'weight' in instance:
                annotation['weight'] = instance['weight']
            if 'keypoints' in instance:
                points = zip(instance['keypoints'], instance['keypoints_visible'])
                annotation['keypoints'] = [v for (x, y), seen in points for v in (x, y, seen)]
            annotations.append(annotation)
    listed = [
        dict(id=number, file_name=name, width=image['width'], height=image['height'])
        for number, (image, name) in enumerate(zip(images, names), 1)
    ]
    categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
    return dict(images=listed, annotations=annotations, categories=categories)


def _write_coco(content: DatasetContent, parts: dict, out: Path, place: str) -> list[Path]:
    written = []
    for name, images in parts.items():
        files = [_relative(image, content.root) for image in images]
        if place != 'none':
            for image, file in zip(images, files):
                _place(Path(image['img_path']), out / 'images' / file, place)
        written.append(out / 'annotations' / f'{name}.json')
        write_json(written[-1], coco_json(images, content.classes, files))
    return written


def _write_voc(content: DatasetContent, parts: dict, out: Path, place: str) -> list[Path]:
    written = []
    for name, images in parts.items():
        stems = []
        for image in images:
            file = _relative(image, content.root)
            stems.append(file.rpartition('.')[0])
            _place(Path(image['img_path']), out / 'JPEGImages' / file, place)
            path = out / 'Annotations' / f'{stems[-1]}.xml'
            path.parent.mkdir(parents=True, exist_ok=True)
            tree = ElementTree.ElementTree(_voc_tree(image, file, content.classes))
            ElementTree.indent(tree)
            tree.write(path, encoding='utf-8')
        path = out / 'ImageSets' / 'Main' / f'{name}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('\n'.join(stems) + '\n', encoding='utf-8')
        written.append(path)
    return written


def _voc_tree(image: dict, file: str, classes: Sequence[str]) -> ElementTree.Element:
    root = ElementTree.Element('annotation')

    def add(parent: ElementTree.Element, tag: str, text: object = None) -> ElementTree.Element:
        node = ElementTree.SubElement(parent, tag)
        node.text = None if text is None else str(text)
        return node

    add(root, 'filename', file)
    size = add(root, 'size')
    for tag in ('width', 'height'):
        add(size, tag, image[tag])
    add(size, 'depth', 3)
    for instance in image['instances']:
        node = add(root, 'object')
        add(node, 'name', classes[instance['bbox_label']])
        add(node, 'difficult', instance['ignore_flag'])
        if 'weight' in instance:
            add(node, 'weight', instance['weight'])
        box = add(node, 'bndbox')
        x1, y1, x2, y2 = instance['bbox']
        # 1-based, both ends inclusive.
        for tag, value in (('xmin', x1 + 1), ('ymin', y1 + 1), ('xmax', x2), ('ymax', y2)):
            add(box, tag, _short(value))
    return root


def _write_yolo(content: DatasetContent, parts: dict, out: Path, place: str) -> list[Path]:
    for name, images in parts.items():
        for image in images:
            file = Path(name) / _relative(image, content.root)
            _place(Path(image['img_path']), out / 'images' / file, place)
            lines: dict[str, list[str]] = {'labels': [], 'ignored': []}
            for instance in image['instances']:
                kind = 'ignored' if instance['ignore_flag'] else 'labels'
                lines[kind].append(_yolo_line(instance, image['width'], image['height']))
            for kind, rows in lines.items():
                if rows or kind == 'labels':
                    path = (out / kind / file).with_suffix('.txt')
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(''.join(f'{row}\n' for row in rows), encoding='utf-8')
    text = [f'path: {out.absolute()}', *(f'{name}: images/{name}' for name in parts), 'names:']
    text += [f'  {i}: {name}' for i, name in enumerate(content.classes)]
    (out / 'data.yaml').write_text('\n'.join(text) + '\n', encoding='utf-8')
    return [out / 'data.yaml']


def _yolo_line(instance: dict, width: int, height: int) -> str:
    x1, y1, x2, y2 = instance['bbox']
    shares = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
    return ' '.join([str(instance['bbox_label']), *(f'{v:.8g}' for v in shares)])


def _relative(image: dict, root: Path) -> str:
    """The file of an image below the folder of the images, with folders, so that none collide."""
    path = Path(image['img_path']).absolute()
    try:
        return path.relative_to(root.absolute()).as_posix()
    except ValueError:
        return path.name


def _place(source: Path, target: Path, place: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() or target.is_symlink():
        if target.resolve() == source.resolve():
            return
        target.unlink()
    if place == 'link':
        target.symlink_to(source.absolute())
    else:
        shutil.copyfile(source, target)


def _short(value: float) -> float | int:
    value = round(float(value), 3)
    return int(value) if value == int(value) else value
