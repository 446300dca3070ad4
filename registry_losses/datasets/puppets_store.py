"""Writes the puppets once: COCO keypoint json and PNG."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2

from ..errors import DataError
from ..structures.skeleton import COCO_17
from .drawn_once import draw_once, progress_bar, sync
from .puppets_render import VERSION, PuppetsImage, PuppetsSpec, draw_image


def prepare_puppets(
    data_root: str | os.PathLike, spec: PuppetsSpec | None = None, *, progress: bool = True
) -> bool:
    """Make sure that ``data_root`` holds the puppets of ``spec``.

    Args:
        data_root: The folder; its parent is created.
        spec: What to draw. Defaults to ``PuppetsSpec()``.
        progress: Show a progress bar.

    Returns:
        Whether the images were drawn now (False: they were there already).

    Raises:
        DataError: If the folder holds something else.
    """
    spec = spec or PuppetsSpec()
    stamp = {'data': 'puppets', 'version': VERSION, **asdict(spec)}
    return draw_once(data_root, stamp, partial(_write_all, spec=spec, progress=progress))


def _write_all(folder: Path, *, spec: PuppetsSpec, progress: bool) -> None:
    (folder / 'annotations').mkdir()
    counts = {'train': spec.num_train, 'val': spec.num_val}
    with progress_bar(sum(counts.values()), f'drawing puppets in {folder.parent}', progress) as one:
        for split, count in counts.items():
            (folder / split).mkdir()
            _write_split(folder, spec, split, count, one)


def _write_split(folder: Path, spec: PuppetsSpec, split: str, count: int, advance) -> None:
    images: list[dict] = []
    annotations: list[dict] = []
    draw = partial(_write_image, folder / split, spec, split)
    # OpenCV and NumPy's generators leave the interpreter lock, so threads share the work.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for index, (name, drawn) in enumerate(pool.map(draw, range(count))):
            size = spec.image_size
            images.append(dict(id=index, file_name=name, width=size, height=size))
            annotations += _annotations(len(annotations) + 1, index, drawn)
            advance()
    person = dict(
        id=1,
        name='person',
        keypoints=list(COCO_17.joints),
        skeleton=[[a + 1, b + 1] for a, b in COCO_17.limbs],
    )
    path = folder / 'annotations' / f'{split}.json'
    content = dict(images=images, annotations=annotations, categories=[person])
    path.write_text(json.dumps(content))
    sync(path)


def _write_image(
    folder: Path, spec: PuppetsSpec, split: str, index: int
) -> tuple[str, PuppetsImage]:
    drawn = draw_image(spec, split, index)
    name = f'{index:06d}.png'
    # OpenCV writes BGR.
    done = cv2.imwrite(str(folder / name), drawn.image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 4])
    if not done:
        raise DataError(f'could not write {folder / name}; is the disk full?')
    return name, drawn


def _annotations(first: int, image: int, drawn: PuppetsImage) -> list[dict]:
    result: list[dict] = []
    for box, joints, area, crowd in zip(drawn.boxes, drawn.keypoints, drawn.areas, drawn.crowd):
        x1, y1, x2, y2 = (float(v) for v in box)
        flat = [v for x, y, seen in joints for v in (round(x, 2), round(y, 2), int(seen))]
        result.append(
            dict(
                id=first + len(result),
                image_id=image,
                category_id=1,
                bbox=[x1, y1, x2 - x1, y2 - y1],
                area=float(area),
                iscrowd=int(crowd),
                keypoints=flat,
                num_keypoints=int((joints[:, 2] > 0).sum()),
            )
        )
    return result
