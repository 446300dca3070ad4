"""Checkpoint files: written whole or not at all, plain data inside, found again after a crash."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

from ..errors import CheckpointError
from .safe_loading import is_whole, load_checkpoint_file

ATOMIC_BACKEND = 'registry_losses_atomic'


@register_backend(ATOMIC_BACKEND, force=True)
class AtomicLocalBackend(LocalBackend):
    """Local files that appear under their name only when they are complete.

    Stands for MMEngine's ``LocalBackend.put``, which writes into the final name: a run
    killed meanwhile leaves a truncated checkpoint where a whole one may have been.
    """

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write ``obj`` to a temporary name, sync it to the disk, then rename it.

        Raises:
            CheckpointError: If that fails, on a full disk for instance; with the path and
                what to do. The temporary file is gone then, the file of before untouched.
        """
        path = Path(filepath)
        temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise CheckpointError(_write_failure(path, len(obj), error)) from error
        _sync_directory(path.parent)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text the same way."""
        self.put(obj.encode(encoding), filepath)


def _write_failure(path: Path, size: int, error: OSError) -> str:
    text = f'{path}: cannot be written ({error.strerror or error}). '
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        text += (
            f'It takes {size / 1e6:.0f} MB: free some space, or keep fewer checkpoints'
            ' (default_hooks.checkpoint.max_keep_ckpts=1). '
        )
    return text + 'What was saved before is untouched; the same command with --resume goes on.'


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
    for path in Path(directory).glob('.*.tmp'):
        if re.fullmatch(r'\..+\.\d+\.tmp', path.name):  # `.NAME.PROCESS.tmp`
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


def resumable_checkpoints(work_dir: str | os.PathLike) -> Iterable[Path]:
    """The checkpoints of ``work_dir`` that hold a training state, newest first.

    "Newest" is the one with the most iterations, so copying or moving the folder, which
    changes dates and absolute paths, changes nothing. Files that cannot be read are
    skipped with a warning.

    Stands for MMEngine's ``find_latest_checkpoint``, which trusts the absolute path in
    ``last_checkpoint`` even where that file was moved or never finished.
    """
    return [path for path, _ in _survey(work_dir) if path is not None]


def _survey(work_dir: str | os.PathLike) -> list[tuple[Path | None, str]]:
    """Resumable checkpoints, newest first; then, without a path, why others cannot be read."""
    found, unreadable = [], []
    for path in sorted(Path(work_dir).glob('*.pth')):
        try:
            checkpoint = load_checkpoint_file(path, mmap=True)
        except CheckpointError as error:
            print_log(f'Skipped while looking for a checkpoint: {error}', 'current', 30)
            unreadable.append(str(error))
            continue
        if 'optimizer' in checkpoint:
            meta = checkpoint.get('meta')
            meta = meta if isinstance(meta, dict) else {}
            order = (meta.get('iter', 0), meta.get('epoch', 0), path.stat().st_mtime)
            found.append((order, path))
    newest_first: list[tuple[Path | None, str]] = [(p, '') for _, p in sorted(found, reverse=True)]
    return newest_first + [(None, text) for text in unreadable]


def find_resumable(work_dir: str | os.PathLike) -> Path | None:
    """The newest whole checkpoint of ``work_dir`` to go on from.

    Returns:
        None where there is none at all.

    Raises:
        CheckpointError: If there are some, and none can be read: to start afresh then would
            pass over a training in silence.
    """
    unreadable = []
    for path, problem in _survey(work_dir):
        if path is None:
            unreadable.append(problem)
        elif is_whole(path):
            return path
        else:
            problem = f'{path}: its contents do not match their checksum'
            print_log(f'Skipped {problem}', 'current', 30)
            unreadable.append(problem)
    if unreadable:
        raise CheckpointError(
            f'{work_dir}: none of the checkpoints to resume from can be read:\n  '
            + '\n  '.join(unreadable)
            + '\nTo start afresh, move them away, or leave --resume out.'
        )
    return None
