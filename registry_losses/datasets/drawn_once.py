"""Data that is drawn once: a folder that is either whole or absent.

Everything goes to a temporary folder beside the final one, which a rename then puts in
place; a stamp inside says what it was made from. A lock makes processes that start
together wait for the one that writes, and the kernel drops it when that one dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError

STAMP = 'stamp.json'

Drawn = tuple[np.ndarray, list[dict]]
"""An image ``(H, W, 3)``, RGB in bytes, and its annotations without their ids."""


def draw_once(root: str | os.PathLike, stamp: Mapping, write: Callable[[Path], None]) -> bool:
    """Make sure that a folder holds what ``stamp`` describes.

    Args:
        root: The folder; its parent is created.
        stamp: What the data are made from, their name under ``data``; must survive json.
        write: Fills an empty folder.

    Returns:
        Whether the data were written now (False: they were there already).

    Raises:
        DataError: If the folder holds something that this function did not write.
    """
    root = Path(root).absolute()
    if holds(root, stamp):
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    with _lock(root.with_name(f'.{root.name}.lock')):
        if holds(root, stamp):  # another process wrote it while we waited
            return False
        _refuse_foreign(root, str(stamp.get('data', 'data')))
        for stale in root.parent.glob(f'.{root.name}.tmp-*'):  # left by killed runs
            shutil.rmtree(stale, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f'.{root.name}.tmp-', dir=root.parent))
        try:
            temporary.chmod(0o755)  # mkdtemp's 0o700 would shut out other users
            write(temporary)
            (temporary / STAMP).write_text(json.dumps(stamp, indent=1))
            sync(temporary / STAMP)
            _replace(temporary, root)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return True


def holds(root: str | os.PathLike, stamp: Mapping) -> bool:
    """Whether the folder holds exactly the data of ``stamp``."""
    try:
        return json.loads((Path(root) / STAMP).read_text()) == dict(stamp)
    except (OSError, ValueError):
        return False


def _refuse_foreign(root: Path, name: str) -> None:
    if root.is_dir() and any(root.iterdir()) and not (root / STAMP).is_file():
        raise DataError(
            f'{root}: expected {name} written by this package (with a {STAMP}) or no folder, '
            'got other files; move them away or choose another data_root'
        )


def _replace(temporary: Path, root: Path) -> None:
    """Put the new folder in place; a kill in between leaves none, which is made again."""
    if root.exists():
        old = Path(tempfile.mkdtemp(prefix=f'.{root.name}.tmp-', dir=root.parent))
        os.rename(root, old / 'old')
        os.rename(temporary, root)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(temporary, root)


def write_splits(
    folder: Path,
    counts: Mapping[str, int],
    draw: Callable[[str, int], Drawn],
    categories: Sequence[dict],
    *,
    text: str,
    progress: bool,
) -> None:
    """Write the images of each split as PNG and its annotations as one COCO json.

    Args:
        folder: An empty one.
        counts: Images of each split.
        draw: Split and index to an image and its annotations; called by several threads.
        categories: COCO's, for every json.
        text: What the progress bar says.
        progress: Show it.

    Raises:
        DataError: If an image cannot be written.
    """
    (folder / 'annotations').mkdir()
    with progress_bar(sum(counts.values()), text, progress) as advance:
        for split, count in counts.items():
            (folder / split).mkdir()

            def write_one(index: int, split: str = split) -> tuple[dict, list[dict]]:
                image, annotations = draw(split, index)
                name = f'{index:06d}.png'
                _write_png(folder / split / name, image)
                height, width = image.shape[:2]
                return dict(id=index, file_name=name, width=width, height=height), annotations

            content: dict[str, list] = dict(images=[], annotations=[], categories=[*categories])
            # OpenCV and NumPy's generators leave the interpreter lock: threads share the work.
            with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
                for image, annotations in pool.map(write_one, range(count)):
                    content['images'].append(image)
                    for annotation in annotations:
                        number = len(content['annotations']) + 1
                        ids = dict(id=number, image_id=image['id'])
                        content['annotations'].append(ids | annotation)
                    advance()
            path = folder / 'annotations' / f'{split}.json'
            path.write_text(json.dumps(content))
            sync(path)


def _write_png(path: Path, image: np.ndarray) -> None:
    # OpenCV writes BGR.
    if not cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 4]):
        raise DataError(f'could not write {path}; is the disk full?')


def sync(path: Path) -> None:
    """Have the file on the disk before what follows."""
    with open(path, 'rb') as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; waits for whoever holds it and is still alive."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: a single process is safe without
        yield
        return
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def progress_bar(total: int, text: str, enabled: bool = True) -> Iterator[Callable[[], None]]:
    """Yield a function to call once an image."""
    if not enabled:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(text, total=total)
        yield lambda: bar.advance(task)
