"""YOLO's text format: one file an image, one line ``class cx cy w h`` an object, in shares.

``images/NAME.jpg`` belongs to ``labels/NAME.txt``. Ignore regions, which the format does not
have, stand in ``ignored/NAME.txt`` in the same form, where other programs do not look.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import mmcv
from mmengine.logging import print_log

from ..errors import DataError
from .annotations import Repeats, check_box
from .problems import Problems
from .texts import decode
from .voc_files import IMAGE_SUFFIXES


def yolo_classes(source: Path) -> tuple[str, ...]:
    """The names of a YOLO data set: of ``names`` in a yaml, or of a list of names.

    Looked for in the folder and the two above it.

    Raises:
        DataError: If there is no such file.
    """
    start = source if source.is_dir() else source.parent
    if source.suffix in ('.yaml', '.yml'):
        names = _names_of_yaml(source)
        if not names:
            raise DataError(f'{source}: expected names: [...], the names of the classes')
        return names
    for folder in (start, *start.absolute().parents[:2]):
        for path in (*sorted(folder.glob('*.yaml')), *sorted(folder.glob('*.yml'))):
            names = _names_of_yaml(path)
            if names:
                return names
        for name in ('classes.txt', 'obj.names', 'labels.txt'):
            if (folder / name).is_file():
                text = decode((folder / name).read_bytes(), folder / name)
                return tuple(line.strip() for line in text.splitlines() if line.strip())
    raise DataError(
        f'{source}: no data.yaml with names and no classes.txt near it; give the names of the '
        'classes with --classes'
    )


def _names_of_yaml(path: Path) -> tuple[str, ...]:
    import yaml

    try:
        content = yaml.safe_load(decode(path.read_bytes(), path)) or {}
    except yaml.YAMLError as error:
        raise DataError(f'{path}: broken YAML: {" ".join(str(error).split())}') from error
    names = (content.get('names') if isinstance(content, dict) else None) or ()
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise DataError(
                f'{path}: names: expected a list, or the numbers 0 to {len(names) - 1}, got '
                f'{list(names)[:10]}'
            )
        names = [names[key] for key in range(len(names))]
    if not isinstance(names, (list, tuple)) or any(isinstance(n, (list, dict)) for n in names):
        raise DataError(f'{path}: names: expected a list of names, got {names!r}')
    found = tuple(str(name).strip() for name in names)
    if len(set(found)) != len(found):
        raise DataError(f'{path}: names: expected each name once, got {list(found)}')
    return found


def list_images(source: Path, images: str | Path | None = None) -> list[Path]:
    """The image files of a YOLO data set, sorted.

    Args:
        source: A folder, a text file of image paths, or a yaml (its ``train``).
        images: The folder of the images instead.

    Raises:
        DataError: If there is none.
    """
    if source.suffix == '.txt' and source.is_file():
        lines = decode(source.read_bytes(), source).splitlines()
        return [source.parent / line.strip() for line in lines if line.strip()]
    folder = Path(images) if images else source
    if source.is_file():
        folder = Path(images) if images else source.parent
    if not images and (folder / 'images').is_dir():
        folder = folder / 'images'
    found = sorted(p for p in folder.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise DataError(f'{source}: no images in {folder}')
    return found


def label_file(image: Path, kind: str = 'labels') -> Path:
    """The text file of an image: in ``labels`` in place of the last ``images``, or beside it."""
    parts = list(image.parts)
    if 'images' in parts[:-1]:
        at = len(parts) - 2 - parts[:-1][::-1].index('images')
        return Path(*parts[:at], kind, *parts[at + 1 :]).with_suffix('.txt')
    if kind == 'labels' and image.with_suffix('.txt').is_file():
        return image.with_suffix('.txt')
    return image.parent.parent / kind / f'{image.stem}.txt'


def read_yolo(files: Sequence[Path], classes: Sequence[str]) -> list[dict]:
    """Every image with its objects; an image without a text file has none.

    Raises:
        DataError: For a line that is not ``class cx cy w h``, by file and line; if no image
            has a text file.
    """
    problems = Problems(str(files[0].parent))
    repeated = Repeats()
    images, total, without = [], 0, 0
    for path in files:
        image = mmcv.imfrombytes(path.read_bytes()) if path.is_file() else None
        if image is None:
            reason = 'is missing' if not path.is_file() else 'cannot be decoded'
            print_log(f'{path}: {reason}; the image is left out', 'current', logging.WARNING)
            continue
        height, width = image.shape[:2]
        instances = []
        without += not label_file(path).is_file()
        for kind in ('labels', 'ignored'):
            text = label_file(path, kind)
            lines = decode(text.read_bytes(), text).splitlines() if text.is_file() else []
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                total += 1
                label, xywh = _parse(line, text, number, len(classes))
                cx, cy, w, h = (v * s for v, s in zip(xywh, (width, height) * 2))
                ids = dict(image=path.name, annotation=number)
                box = check_box((cx - w / 2, cy - h / 2, w, h), width, height, problems, ids)
                if box is None:
                    continue
                instance = dict(bbox=box, bbox_label=label, ignore_flag=int(kind == 'ignored'))
                if repeated.is_new(path, instance, problems, ids):
                    instances.append(instance)
        size = dict(height=height, width=width)
        images.append(dict(img_id=str(path), img_path=str(path), instances=instances, **size))
    if without == len(files):
        raise DataError(f'{files[0]}: no text file at {label_file(files[0])}, nor for any image')
    problems.log(total)
    return images


def _parse(line: str, path: Path, number: int, num_classes: int) -> tuple[int, list[float]]:
    try:
        label, *values = re.split(r'[\s,]+', line.strip())
        numbers = [float(v) for v in values]
        index = int(float(label))
    except (ValueError, OverflowError):
        numbers, index = [], -1
    if len(numbers) != 4 or not 0 <= index < num_classes or max(map(abs, numbers)) > 2:
        raise DataError(
            f'{path}, line {number}: expected "class cx cy w h" with a class in '
            f'[0, {num_classes}) and shares of the image, got {line!r}'
        )
    return index, numbers
