"""What to call the pictures of images, so that none overwrites another's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def picture_names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """A file name for each picture, distinct also where images share theirs.

    Names that differ only in case are taken for the same, as some file systems do.

    Example:
        >>> picture_names(['day/1.jpg', 'night/1.jpg', '2.png'])
        ['1.png', '1_2.png', '2.png']
    """
    names: list[str] = []
    used: set[str] = set()
    for path in map(Path, paths):
        stem, number = path.stem, 1
        while stem.lower() in used:
            number += 1
            stem = f'{path.stem}_{number}'
        used.add(stem.lower())
        names.append(f'{stem}.png')
    return names
