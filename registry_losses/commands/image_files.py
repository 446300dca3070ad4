"""Image and video files named by a user: which there are, and what to call each."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError
from ..visualization.names import picture_names as picture_names

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm')
VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')


def is_video(path: Path) -> bool:
    """Whether the name of a file is a video's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_images(sources: Sequence[str | os.PathLike], *, videos: bool = False) -> list[Path]:
    """The image files that ``sources`` stand for, in order, once each.

    A source is a file, a folder (searched with its subfolders) or a pattern with ``*``,
    ``?`` or ``[``, where ``**`` stands for any folders. Of folders and patterns only
    names that end as images do are taken.

    Args:
        sources: What the user named.
        videos: Take video files of folders and patterns too.

    Raises:
        DataError: If a source does not exist, or no image is found.
    """
    suffixes = IMAGE_SUFFIXES + (VIDEO_SUFFIXES if videos else ())
    found: dict[Path, None] = {}
    for source in sources:
        path = Path(source).expanduser()
        if path.is_dir():
            found.update(dict.fromkeys(_files_below(path, suffixes)))
        elif path.is_file():
            found[path] = None
        elif glob.has_magic(str(path)):
            matches = [Path(p) for p in sorted(glob.glob(str(path), recursive=True))]
            if not matches:
                raise DataError(f'{source}: the pattern matches nothing')
            for match in matches:
                found.update(dict.fromkeys(_files_below(match, suffixes)))
        else:
            raise DataError(f'{source}: no such image or folder')
    if not found:
        names = ', '.join(str(s) for s in sources)
        raise DataError(f'no images in {names}; looked for {", ".join(suffixes)}')
    return list(found)


def _files_below(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder that end so, or a file if it is one, sorted."""
    inside = path.rglob('*') if path.is_dir() else [path]
    return sorted(p for p in inside if p.suffix.lower() in suffixes and p.is_file())


def image_ids(paths: Sequence[Path]) -> list[int]:
    """COCO's number of files named after it (``000000000139.jpg``), else 1, 2, 3 ..."""
    if all(path.stem.isdigit() for path in paths):
        numbers = [int(path.stem) for path in paths]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(paths) + 1))
