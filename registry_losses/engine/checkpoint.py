"""Checkpoint files: written whole or not at all, plain data inside, found again after a crash."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

from ..errors import CheckpointError

ATOMIC_BACKEND = 'registry_losses_atomic'


@register_backend(ATOMIC_BACKEND, force=True)
class AtomicLocalBackend(LocalBackend):
    """Local files that appear under their name only when they are complete.

    Stands for MMEngine's ``LocalBackend.put``, which writes into the final name: a run
    killed meanwhile leaves a truncated checkpoint where a whole one may have been.
    """

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write ``obj`` to a temporary name, sync it to the disk, then rename it."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
        with open(temporary, 'wb') as file:
            file.write(obj)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_directory(path.parent)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text the same way."""
        self.put(obj.encode(encoding), filepath)


def _sync_directory(path: Path) -> None:
    # The rename itself is durable only once the directory is synced (POSIX).
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows cannot open directories
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse
        pass
    finally:
        os.close(descriptor)


def remove_unfinished(directory: str | Path) -> None:
    """Delete the temporary files that killed runs left in ``directory``."""
    for path in Path(directory).glob('.*.pth.*.tmp'):
        path.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """Reduce ``value`` to what ``torch.load(weights_only=True)`` reads.

    Tensors, numbers, strings, bytes, None, and lists, tuples and dicts of them stay;
    NumPy scalars and arrays become numbers and lists; anything else is left out of a
    dict and replaced by its ``str`` in a sequence.
    """
    return _plain(value)


_DROP = object()


def _plain(value: Any) -> Any:
    # bool before int, exact types only: subclasses such as numpy.float64 must be converted.
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach() if value.requires_grad else value
    if isinstance(value, dict):
        items = ((_plain(k), _plain(v)) for k, v in value.items())
        return {k: v for k, v in items if k is not _DROP and v is not _DROP}
    if isinstance(value, (list, set, frozenset)) or type(value).__name__ == 'deque':
        return [_or_text(v) for v in value]
    if isinstance(value, tuple):
        return tuple(_or_text(v) for v in value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    for base in (bool, int, float, str):
        if isinstance(value, base):
            return base(value)
    if isinstance(value, (torch.dtype, torch.device, torch.Size, os.PathLike)):
        return str(value)
    return _DROP


def _or_text(value: Any) -> Any:
    result = _plain(value)
    return str(value) if result is _DROP else result


def make_plain(checkpoint: dict[str, Any]) -> None:
    """Turn a checkpoint about to be saved into plain data, in place.

    Stands for MMEngine saving pickled ``HistoryBuffer`` objects: PyTorch >= 2.6 refuses
    to load them. The smoothing windows of the log restart at a resume; all the rest,
    the best score included, is kept.
    """
    hub = checkpoint.get('message_hub')
    if isinstance(hub, dict):
        hub['log_scalars'] = {}
        hub['runtime_info'] = plain(dict(hub.get('runtime_info', {})))
        kept = hub['runtime_info']
        hub['resumed_keys'] = {k: v for k, v in hub.get('resumed_keys', {}).items() if k in kept}
    for key, value in checkpoint.items():
        if key not in ('state_dict', 'ema_state_dict'):
            checkpoint[key] = plain(value)


class _Inert:
    """What an unknown object in a foreign checkpoint becomes: it holds and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def load_checkpoint_file(
    path: str | os.PathLike, *, map_location: str | Callable | None = 'cpu', mmap: bool = False
) -> dict[str, Any]:
    """Read a checkpoint without ever running code from it.

    Files of this package hold plain data. In a file from elsewhere, objects that are not
    plain (OpenMMLab's log buffers, NumPy scalars) are replaced by inert stand-ins, and a
    line of the log names them; the weights are not affected.

    Args:
        path: A local file.
        map_location: As in ``torch.load``.
        mmap: Map the file rather than read it: cheap where only ``meta`` is wanted.

    Raises:
        CheckpointError: If the file is missing, truncated or cannot be read safely.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f'{path}: no such checkpoint file')
    options: dict[str, Any] = dict(map_location=map_location, weights_only=True)
    if mmap:
        options['mmap'] = True
    try:
        checkpoint = torch.load(path, **options)
    except UnpicklingError as error:
        checkpoint = _load_with_stand_ins(path, options, error)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f'{path}: not a whole checkpoint ({error})') from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path}: expected a dict, got {type(checkpoint).__name__}')
    return checkpoint


def _load_with_stand_ins(path: Path, options: dict[str, Any], error: Exception) -> Any:
    find = getattr(torch.serialization, 'get_unsafe_globals_in_checkpoint', None)
    if find is None:  # PyTorch < 2.6
        raise CheckpointError(
            f'{path}: holds more than plain data, and PyTorch {torch.__version__} cannot read'
            f' such a file safely; use PyTorch >= 2.6. ({error})'
        ) from error
    try:
        unknown = find(path)
        stand_ins: list[Any] = [(_stand_in(name), name) for name in unknown]
        with torch.serialization.safe_globals(stand_ins):
            checkpoint = torch.load(path, **options)
    except Exception as second:
        raise CheckpointError(f'{path}: cannot be read safely ({second})') from second
    print_log(f'{path}: ignored objects of {", ".join(sorted(unknown))}', logger='current')
    return checkpoint


def _stand_in(name: str) -> type[_Inert]:
    # A class of its own for each name: the unpickler keys its allow-list by object.
    return type(name.rpartition('.')[2], (_Inert,), {})


def is_whole(path: str | os.PathLike) -> bool:
    """Whether every byte of the file is there and matches its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError):
        return False


def resumable_checkpoints(work_dir: str | os.PathLike) -> Iterable[Path]:
    """The checkpoints of ``work_dir`` that hold a training state, newest first.

    "Newest" is the one with the most iterations, so copying or moving the folder, which
    changes dates and absolute paths, changes nothing. Files that cannot be read are
    skipped with a warning.

    Stands for MMEngine's ``find_latest_checkpoint``, which trusts the absolute path in
    ``last_checkpoint`` even where that file was moved or never finished.
    """
    found = []
    for path in Path(work_dir).glob('*.pth'):
        try:
            checkpoint = load_checkpoint_file(path, mmap=True)
        except CheckpointError as error:
            print_log(f'Skipped while looking for a checkpoint: {error}', 'current', 30)
            continue
        if 'optimizer' in checkpoint:
            meta = checkpoint.get('meta', {})
            order = (meta.get('iter', 0), meta.get('epoch', 0), path.stat().st_mtime)
            found.append((order, path))
    return [path for _, path in sorted(found, reverse=True)]


def find_resumable(work_dir: str | os.PathLike) -> Path | None:
    """The newest whole checkpoint of ``work_dir`` to go on from, or None."""
    for path in resumable_checkpoints(work_dir):
        if is_whole(path):
            return path
        print_log(f'Skipped {path}: its contents do not match their checksum', 'current', 30)
    return None
