"""Small COCO and VOC data sets whose boxes can be seen, and configs that point at them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

from registry_losses.commands.detector import category_ids
from registry_losses.config import load_config
from registry_losses.datasets.metainfo import COCO_CLASSES, VOC_CLASSES

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# (width, height) of the images; the fourth holds no object.
SIZES = [(200, 150), (150, 200), (320, 240), (90, 80), (120, 120), (240, 160)]
EMPTY = 3
# Which channels are bright inside a rectangle, by label.
CODES = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)]
DARK, BRIGHT = 10, 220


POSE = ('associative_embedding/', 'openpose/')


def config_files(*, digits: bool) -> list[str]:
    """The configs that can be run, relative to their folder."""
    files = [p.relative_to(CONFIGS) for p in sorted(CONFIGS.rglob('*.py'))]
    own = [str(f) for f in files if f.parts[0] != '_base_']
    # Pose configs have other data and other metrics; see test_pose/test_recipes.py.
    detection = [f for f in own if not f.startswith(POSE)]
    return [f for f in detection if f.endswith('_digits.py') == digits]


def objects_of(number: int, num_classes: int) -> list[tuple[int, tuple[int, int, int, int]]]:
    """Label and box xyxy of the rectangles of an image, far from each other."""
    if number == EMPTY:
        return []
    width, height = SIZES[number]
    rng = np.random.default_rng(number)
    found = []
    for column in range(2):
        for row in range(2):
            x, y = column * width // 2, row * height // 2
            w, h = width // 2, height // 2
            label = int(rng.integers(num_classes))
            dx, dy = rng.integers(w // 8, w // 4), rng.integers(h // 8, h // 4)
            side = rng.uniform(0.45, 0.6, 2)
            x1, y1 = int(x + dx), int(y + dy)
            found.append((label, (x1, y1, x1 + int(w * side[0]), y1 + int(h * side[1]))))
    return found


def draw(number: int, num_classes: int) -> np.ndarray:
    """The image: dark, with a flat rectangle an object."""
    width, height = SIZES[number]
    image = np.full((height, width, 3), DARK, np.uint8)
    for label, (x1, y1, x2, y2) in objects_of(number, num_classes):
        image[y1:y2, x1:x2] = np.where(CODES[label % 6], BRIGHT, DARK)
    return image


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """Without the halved colour resolution that JPEG usually has, which blurs edges."""
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 97, *sampling])


def make_coco(root: Path) -> Path:
    """``annotations``, ``train2017`` and ``val2017``; one object of image 0 is a crowd."""
    ids = category_ids(COCO_CLASSES)
    categories = [dict(id=i, name=name) for i, name in zip(ids, COCO_CLASSES)]
    for split in ('train', 'val'):
        images, annotations = [], []
        for number, (width, height) in enumerate(SIZES):
            name = f'{number:012d}.jpg'
            write_jpeg(root / f'{split}2017' / name, draw(number, 80))
            images.append(dict(id=number, file_name=name, width=width, height=height))
            for k, (label, (x1, y1, x2, y2)) in enumerate(objects_of(number, 80)):
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=number,
                        category_id=ids[label],
                        bbox=[x1, y1, x2 - x1, y2 - y1],
                        area=(x2 - x1) * (y2 - y1),
                        iscrowd=int(number == 0 and k == 0),
                    )
                )
        path = root / 'annotations' / f'instances_{split}2017.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            json.dumps(dict(images=images, annotations=annotations, categories=categories))
        )
    return root


def make_voc(root: Path) -> Path:
    """``VOC2007`` (trainval and test) and ``VOC2012``; one object of image 0 is difficult."""
    for year, lists in ((2007, ('trainval', 'test')), (2012, ('trainval',))):
        folder = root / f'VOC{year}'
        (folder / 'Annotations').mkdir(parents=True)
        (folder / 'ImageSets' / 'Main').mkdir(parents=True)
        names = [f'{year}_{number:06d}' for number in range(len(SIZES))]
        for number, name in enumerate(names):
            write_jpeg(folder / 'JPEGImages' / f'{name}.jpg', draw(number, 20))
            width, height = SIZES[number]
            text = f'<size><width>{width}</width><height>{height}</height></size>'
            for k, (label, (x1, y1, x2, y2)) in enumerate(objects_of(number, 20)):
                text += (
                    f'<object><name>{VOC_CLASSES[label]}</name>'
                    f'<difficult>{int(number == 0 and k == 0)}</difficult>'
                    f'<bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>'
                    f'<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>'
                )
            (folder / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{text}</annotation>')
        for part in lists:
            (folder / 'ImageSets' / 'Main' / f'{part}.txt').write_text('\n'.join(names))
    return root


def nodes(value: Any, path: str = '') -> Iterator[tuple[str, Mapping]]:
    """Every mapping inside a config, with its dotted path."""
    if isinstance(value, Mapping):
        yield path, value
        for key, item in value.items():
            yield from nodes(item, f'{path}.{key}' if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from nodes(item, f'{path}.{index}')


def pointed_at(file: str, root: Path, *, workers: int = 0, batch_size: int = 2) -> Config:
    """The config as the command line would give it, with the small data in its place."""
    path = CONFIGS / file
    plain = Config.fromfile(path)
    options: dict[str, Any] = {}
    for place, node in nodes(plain._cfg_dict):
        if 'type' in node and 'data_root' in node:
            options[f'{place}.data_root'] = f'{root}/'
            if node['type'] == 'DigitsDataset':
                options[f'{place}.num_train'], options[f'{place}.num_val'] = 8, 4
                options[f'{place}.progress'] = False
        if node.get('type') == 'RepeatDataset':
            options[f'{place}.times'] = 1
        if node.get('type') == 'CocoMetric':
            options[f'{place}.ann_file'] = f'{root}/' + node['ann_file'].split('/', 2)[2]
        if node.get('type') == 'Pretrained':
            options[place] = None
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        options[f'{loader}.batch_size'] = batch_size
        options[f'{loader}.num_workers'] = workers
        options[f'{loader}.persistent_workers'] = False
    return load_config(path, options=options)


def assert_box_holds_its_colour(image: np.ndarray, box: np.ndarray, label: int) -> bool:
    """The box's inside has the colour of its label, and what lies just outside has not.

    Args:
        image: ``(H, W, 3)``.
        box: xyxy.
        label: Of the object.

    Returns:
        Whether the box was large enough to be looked at.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    margin = 2.5
    if min(x2 - x1, y2 - y1) < 4 * margin:
        return False
    height, width = image.shape[:2]
    own = ((image > (DARK + BRIGHT) / 2) == np.array(CODES[label % 6], bool)).all(2)
    left, top = int(np.ceil(x1 + margin)), int(np.ceil(y1 + margin))
    right, bottom = int(x2 - margin), int(y2 - margin)
    inside = own[top:bottom, left:right]
    assert inside.mean() > 0.98, f'box {box}: {inside.mean():.2f} of it has its colour'
    for column in (int(x1 - margin), int(np.ceil(x2 + margin))):
        if 0 <= column < width:
            assert own[top:bottom, column].mean() < 0.05, f'box {box}: its object goes on in x'
    for row in (int(y1 - margin), int(np.ceil(y2 + margin))):
        if 0 <= row < height:
            assert own[row, left:right].mean() < 0.05, f'box {box}: its object goes on in y'
    return True
