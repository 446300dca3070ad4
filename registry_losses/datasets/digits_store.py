"""Writes the digits data set once, so that it is either whole or absent.

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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError
from .digits_render import VERSION, DigitsSpec, draw_image, load_samples
from .metainfo import DIGIT_CLASSES

STAMP = 'stamp.json'


def prepare_digits(
    data_root: str | os.PathLike, spec: DigitsSpec | None = None, *, progress: bool = True
) -> bool:
    """Make sure that ``data_root`` holds the digits of ``spec``.

    Args:
        data_root: The folder; its parent is created.
        spec: What to draw. Defaults to ``DigitsSpec()``.
        progress: Show a progress bar (a line at the end where there is no terminal).

    Returns:
        Whether the images were drawn now (False: they were there already).

    Raises:
        DataError: If the folder holds something that this function did not write.
    """
    root, spec = Path(data_root).absolute(), spec or DigitsSpec()
    if is_current(root, spec):
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    with _lock(root.with_name(f'.{root.name}.lock')):
        if is_current(root, spec):  # another process wrote it while we waited
            return False
        _refuse_foreign(root)
        for stale in root.parent.glob(f'.{root.name}.tmp-*'):  # left by killed runs
            shutil.rmtree(stale, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f'.{root.name}.tmp-', dir=root.parent))
        try:
            temporary.chmod(0o755)  # mkdtemp's 0o700 would shut out other users
            _write_all(temporary, spec, progress=progress)
            _replace(temporary, root)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return True


def is_current(root: str | os.PathLike, spec: DigitsSpec) -> bool:
    """Whether ``root`` holds exactly the digits of ``spec`` by this version."""
    try:
        return json.loads((Path(root) / STAMP).read_text()) == _stamp(spec)
    except (OSError, ValueError):
        return False


def _stamp(spec: DigitsSpec) -> dict:
    return {'data': 'digits', 'version': VERSION, **asdict(spec)}


def _refuse_foreign(root: Path) -> None:
    if root.is_dir() and any(root.iterdir()) and not (root / STAMP).is_file():
        raise DataError(
            f'{root}: expected digits written by this package (with a {STAMP}) or no folder, '
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


def _write_all(folder: Path, spec: DigitsSpec, *, progress: bool) -> None:
    load_samples()  # fail here, with its own message, not in a thread
    (folder / 'annotations').mkdir()
    counts = {'train': spec.num_train, 'val': spec.num_val}
    with _progress(sum(counts.values()), folder, progress) as advance:
        for split, count in counts.items():
            (folder / split).mkdir()
            _write_split(folder, spec, split, count, advance)
    (folder / STAMP).write_text(json.dumps(_stamp(spec), indent=1))
    _sync(folder / STAMP)


def _write_split(folder: Path, spec: DigitsSpec, split: str, count: int, advance) -> None:
    images: list[dict] = []
    annotations: list[dict] = []
    draw = partial(_write_image, folder / split, spec, split)
    # OpenCV and NumPy's generators leave the interpreter lock, so threads share the work.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for index, (name, boxes, labels) in enumerate(pool.map(draw, range(count))):
            images.append(
                dict(id=index, file_name=name, width=spec.image_size, height=spec.image_size)
            )
            for box, label in zip(boxes, labels):
                annotations.append(_annotation(len(annotations) + 1, index, box, int(label)))
            advance()
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(DIGIT_CLASSES)]
    path = folder / 'annotations' / f'{split}.json'
    content = dict(images=images, annotations=annotations, categories=categories)
    path.write_text(json.dumps(content))
    _sync(path)


def _write_image(
    folder: Path, spec: DigitsSpec, split: str, index: int
) -> tuple[str, np.ndarray, np.ndarray]:
    drawn = draw_image(spec, split, index)
    name = f'{index:06d}.png'
    # OpenCV writes BGR.
    done = cv2.imwrite(str(folder / name), drawn.image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 4])
    if not done:
        raise DataError(f'could not write {folder / name}; is the disk full?')
    return name, drawn.boxes, drawn.labels


def _annotation(number: int, image: int, box: np.ndarray, label: int) -> dict:
    x1, y1, x2, y2 = (round(float(v), 2) for v in box)
    width, height = round(x2 - x1, 2), round(y2 - y1, 2)
    return dict(
        id=number,
        image_id=image,
        category_id=label + 1,
        bbox=[x1, y1, width, height],
        area=round(width * height, 2),
        iscrowd=0,
    )


def _sync(path: Path) -> None:
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
def _progress(total: int, folder: Path, enabled: bool) -> Iterator:
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
        task = bar.add_task(f'drawing digits in {folder.parent}', total=total)
        yield lambda: bar.advance(task)
