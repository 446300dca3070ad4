"""Reading checkpoints: no code in them is run, and a flipped bit is found.

Files of this package hold plain data. OpenMMLab's hold log buffers and NumPy scalars beside
the weights; in their place inert objects are put, and a line of the log names them. A file
that names anything else, as one that runs code when it is read must, is refused unless the
user trusts it.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine import fileio
from mmengine.dist import barrier as wait_for_all
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log

from ..errors import CheckpointError

# What checkpoints of the field hold beside plain data; each becomes an inert object.
_HARMLESS_PACKAGES = (
    'addict', 'argparse', 'collections', 'copyreg', 'datetime', 'mmcls', 'mmcv', 'mmdet',
    'mmengine', 'mmpose', 'mmpretrain', 'mmseg', 'mmyolo', 'numpy', 'pathlib', 'torch', 'yapf',
)  # fmt: skip
_HARMLESS_BUILTINS = frozenset(
    ['_codecs.encode', 'builtins.bytearray', 'builtins.complex', 'builtins.dict']
    + ['builtins.frozenset', 'builtins.getattr', 'builtins.list', 'builtins.object']
    + ['builtins.range', 'builtins.set', 'builtins.slice', 'builtins.tuple']
)

_trusted = False


def trust_checkpoints(trust: bool = True) -> None:
    """Read every checkpoint of this process as ``pickle`` does, code included.

    ``--trust-checkpoint`` of the command lines calls this. Trust only files whose origin
    you know: reading them may run anything.
    """
    global _trusted
    _trusted = trust


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
    """Read a checkpoint without running code from it; see the module.

    Args:
        path: A local file.
        map_location: As in ``torch.load``.
        mmap: Map the file rather than read it: cheap where only ``meta`` is wanted, whose
            checksum alone is then compared.

    Raises:
        CheckpointError: If the file is missing, truncated, does not match its checksums, or
            would run code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f'{path}: no such checkpoint file')
    damaged = find_damage(path, tensors=not mmap)
    if damaged:
        raise CheckpointError(f'{path}: not a whole checkpoint ({damaged}). {_ADVICE}')
    options: dict[str, Any] = dict(map_location=map_location, weights_only=not _trusted)
    if mmap:
        options['mmap'] = True
    try:
        checkpoint = torch.load(str(path), **options)  # a Path cannot be mapped before PyTorch 2.4
    except UnpicklingError as error:
        checkpoint = _load_with_stand_ins(path, options, error)
    except Exception as error:  # damaged bytes raise whatever they happen to mean
        raise CheckpointError(f'{path}: not a whole checkpoint ({error}). {_ADVICE}') from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path}: expected a dict, got {type(checkpoint).__name__}')
    return checkpoint


_ADVICE = 'Take another copy, or an earlier checkpoint'


def find_damage(path: str | os.PathLike, *, tensors: bool = True) -> str | None:
    """What of a checkpoint does not match its checksums; None where all does.

    The format of PyTorch before 1.6 has none, so nothing is found in it.

    Args:
        path: A local file.
        tensors: Compare the tensors too, which reads the whole file.
    """
    try:
        with open(path, 'rb') as file:
            start = file.read(4)
        if not start:
            return 'the file is empty'
        if start[:2] == b'\x80\x02' or (start[:1] == b'\x80' and not zipfile.is_zipfile(path)):
            return None
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not tensors and '/data/' in member.filename:
                    continue
                with archive.open(member) as stream:
                    while stream.read(1 << 20):
                        pass
    except Exception as error:  # a damaged directory raises whatever it happens to mean
        return str(error) or type(error).__name__
    return None


def is_whole(path: str | os.PathLike) -> bool:
    """Whether every byte of the file is there and matches its checksum."""
    return zipfile.is_zipfile(path) and find_damage(path) is None


def _load_with_stand_ins(path: Path, options: dict[str, Any], error: Exception) -> Any:
    find = getattr(torch.serialization, 'get_unsafe_globals_in_checkpoint', None)
    if find is None:  # PyTorch < 2.6
        raise CheckpointError(
            f'{path}: refused, for it holds more than plain data ({error}), which PyTorch'
            f' {torch.__version__} cannot read safely: use PyTorch >= 2.6, or --trust-checkpoint'
        ) from error
    try:
        unknown = sorted(find(path))
    except Exception as second:
        raise CheckpointError(f'{path}: cannot be read safely ({second})') from second
    harmful = [name for name in unknown if not _is_harmless(name)]
    if harmful:
        raise CheckpointError(
            f'{path}: refused, for reading it may run code: it names {", ".join(harmful[:4])}.'
            ' If you know where the file comes from: --trust-checkpoint'
        )
    try:
        stand_ins: list[Any] = [(_stand_in(name), name) for name in unknown]
        with torch.serialization.safe_globals(stand_ins):
            checkpoint = torch.load(path, **options)
    except Exception as second:
        raise CheckpointError(f'{path}: cannot be read safely ({second})') from second
    print_log(f'{path}: ignored objects of {", ".join(unknown)}', logger='current')
    return checkpoint


def _is_harmless(name: str) -> bool:
    return name in _HARMLESS_BUILTINS or (
        name.partition('.')[0] in _HARMLESS_PACKAGES and not name.startswith('torch.hub')
    )


def _stand_in(name: str) -> type[_Inert]:
    # A class of its own for each name: the unpickler keys its allow-list by object.
    return type(name.rpartition('.')[2], (_Inert,), {})


def fetch_checkpoint(name: str | os.PathLike) -> Path:
    """The local file of a checkpoint that may be a URL.

    Args:
        name: A path, ``https://...``, or ``open-mmlab://NAME`` and ``torchvision://NAME``,
            which OpenMMLab's configs write for published weights. What is fetched stays in
            PyTorch's hub folder.

    Raises:
        CheckpointError: If it cannot be fetched.
    """
    text = os.fspath(name)
    if '://' not in text:
        return Path(text).expanduser()
    try:
        url = _published(text)
        folder = Path(torch.hub.get_dir()) / 'checkpoints'
        path = folder / url.rpartition('/')[2].partition('?')[0]
        if not path.is_file() and get_rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            if url.startswith(('http://', 'https://')):
                torch.hub.download_url_to_file(url, str(path), progress=True)
            else:
                with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                    file.write(fileio.get(url))
                os.replace(file.name, path)
        if get_world_size() > 1:
            wait_for_all()
    except Exception as error:  # of the network, of a storage's client
        raise CheckpointError(
            f'{text}: cannot be fetched ({type(error).__name__}: {error}). Without a network, fetch'
            ' the file elsewhere and give its path'
        ) from error
    return path


def _published(text: str) -> str:
    from mmengine.runner import checkpoint as published

    scheme, _, key = text.partition('://')
    if scheme in ('open-mmlab', 'openmmlab', 'mmcls'):
        table = published.get_mmcls_models if scheme == 'mmcls' else published.get_external_models
        deprecated = published.get_deprecated_model_names()
        found = table().get(deprecated.get(key, key))
    elif scheme in ('torchvision', 'modelzoo'):
        found = published.get_torchvision_models().get(key)
    else:
        return text
    if found is None:
        raise CheckpointError(f'no published weights of the name {key!r}')
    return found
