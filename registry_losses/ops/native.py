"""C sources compiled when first asked for, by the compiler of the machine.

``torch.compile`` needs that compiler too. A library is kept in a folder of the user and made
once per source, set of constants, compiler and processor.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

# Seconds a compiler may take.
TIMEOUT = 120
# No -ffast-math: numbers that are not finite have to stay so.
FLAGS = ['-std=gnu11', '-O3', '-fPIC', '-ffp-contract=fast']
FLAGS += ['-fno-math-errno', '-fno-trapping-math', '-fno-signed-zeros']


class CompilerMissing(RuntimeError):
    """No library could be made here; the message says what was tried."""


def load_library(source: Path, constants: dict[str, str]) -> ctypes.CDLL:
    """Compile and load a C source.

    With OpenMP the library uses the runtime that PyTorch has loaded, so that both share
    one pool of threads; without OpenMP it runs on one thread.

    Args:
        source: The file.
        constants: Preprocessor constants.

    Returns:
        The library.

    Raises:
        CompilerMissing: If there is no C compiler, or none of the attempts worked.
    """
    compiler = _compiler()
    defines = [f'-D{name}={value}' for name, value in constants.items()]
    reason = ''
    # Each attempt: what the compiler and what the linker is told besides.
    for compile_flags, link_flags in (
        (['-march=native', '-fopenmp'], []),
        (['-march=native', '-fopenmp'], ['-fopenmp']),
        (['-march=native', '-fopenmp-simd'], []),
        (['-mcpu=native', '-fopenmp-simd'], []),
        ([], []),
    ):
        flags = [*FLAGS, *compile_flags, *defines]
        try:
            path = _built(compiler, source, flags, link_flags)
            return ctypes.CDLL(str(path))
        except (OSError, subprocess.SubprocessError) as error:
            reason = (getattr(error, 'stderr', None) or str(error)).strip()
    # The last attempt asks for the least, so what it lacks is what is wrong.
    raise CompilerMissing(f'{shlex.join(compiler)} cannot make {source.name}: {reason[-600:]}')


def _compiler() -> list[str]:
    """The command of the C compiler: ``$CC``, or the first that is found."""
    if os.environ.get('CC'):
        return shlex.split(os.environ['CC'])
    for name in ('cc', 'gcc', 'clang'):
        if shutil.which(name):
            return [name]
    raise CompilerMissing('no C compiler was found: install gcc or clang, or set CC')


@functools.cache
def _identity(compiler: tuple[str, ...], *flags: str) -> str:
    """What the compiler predefines: its version, and the instructions of the processor."""
    command = [*compiler, *flags, '-dM', '-E', '-x', 'c', os.devnull]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=TIMEOUT
    ).stdout


def _built(compiler: list[str], source: Path, flags: list[str], link_flags: list[str]) -> Path:
    """The path of the library, made now unless it lies there already."""
    identity = _identity(tuple(compiler), *(f for f in flags if f.startswith('-m')))
    key = '\0'.join([source.read_text(), identity, *compiler, *flags, *link_flags])
    name = f'{source.stem}_{hashlib.sha256(key.encode()).hexdigest()[:24]}.so'
    folder = cache_folder()
    path = folder / name
    if path.exists():
        return path
    # Several ranks may get here at once: each makes its own file and moves it into place.
    with tempfile.TemporaryDirectory(dir=folder) as room:
        thing, made = str(Path(room, 'a.o')), str(Path(room, 'a.so'))
        for command in (
            [*compiler, *flags, '-c', str(source), '-o', thing],
            [*compiler, '-shared', thing, '-o', made, *link_flags, '-lm'],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)
        os.replace(made, path)
    return path


@functools.cache
def cache_folder() -> Path:
    """Where libraries are kept: ``$REGISTRY_LOSSES_CACHE``, else in the user's cache."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    folder = Path(os.environ.get('REGISTRY_LOSSES_CACHE') or Path(base, 'registry_losses'))
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix='registry_losses_'))
