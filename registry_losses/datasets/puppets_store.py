"""Writes the puppets once: COCO keypoint json and PNG."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path

from ..structures.skeleton import COCO_17
from .drawn_once import Drawn, draw_once, write_splits
from .puppets_render import VERSION, PuppetsSpec, draw_image


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
    person = dict(
        id=1,
        name='person',
        keypoints=list(COCO_17.joints),
        skeleton=[[a + 1, b + 1] for a, b in COCO_17.limbs],
    )
    write_splits(
        folder,
        {'train': spec.num_train, 'val': spec.num_val},
        partial(_draw, spec),
        [person],
        text=f'drawing puppets in {folder.parent}',
        progress=progress,
    )


def _draw(spec: PuppetsSpec, split: str, index: int) -> Drawn:
    drawn = draw_image(spec, split, index)
    annotations: list[dict] = []
    for box, joints, area, crowd in zip(drawn.boxes, drawn.keypoints, drawn.areas, drawn.crowd):
        x1, y1, x2, y2 = (float(v) for v in box)
        flat = [v for x, y, seen in joints for v in (round(x, 2), round(y, 2), int(seen))]
        annotations.append(
            dict(
                category_id=1,
                bbox=[x1, y1, x2 - x1, y2 - y1],
                area=float(area),
                iscrowd=int(crowd),
                keypoints=flat,
                num_keypoints=int((joints[:, 2] > 0).sum()),
            )
        )
    return drawn.image, annotations
