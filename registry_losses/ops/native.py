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
            return _library(compiler, source, flags, link_flags)
        except subprocess.TimeoutExpired:
            reason = f'no end after {TIMEOUT} s'
            break
        except (OSError, subprocess.SubprocessError) as error:
            reason = (getattr(error, 'stderr', None) or str(error)).strip()
    # The last attempt asks for the least, so what it lacks is what is wrong.
    raise CompilerMissing(f'{shlex.join(compiler)} cannot make {source.name}: {reason[-600:]}')


def _compiler() -> list[str]:
    """The command of the C compiler: ``$CC``, or the first that is found."""
    chosen = os.environ.get('CC', '').strip()
    if chosen and shutil.which(chosen):  # its path may hold spaces
        return [chosen]
    if chosen:
        try:
            return shlex.split(chosen)
        except ValueError as error:
            raise CompilerMissing(f'CC: expected a command, got {chosen!r}: {error}') from error
    for name in ('cc', 'gcc', 'clang'):
        if shutil.which(name):
            return [name]
    raise CompilerMissing('no C compiler was found: install gcc or clang, or set CC')


def _run(command: list[str]) -> str:
    """What a command prints, in whatever encoding."""
    return subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors='replace',
        timeout=TIMEOUT,
    ).stdout


@functools.cache
def _identity(compiler: tuple[str, ...], *flags: str) -> str:
    """What the compiler predefines: its version, and the instructions of the processor."""
    return _run([*compiler, *flags, '-dM', '-E', '-x', 'c', os.devnull])


def _library(
    compiler: list[str], source: Path, flags: list[str], link_flags: list[str]
) -> ctypes.CDLL:
    """The library, made now unless it is kept already."""
    identity = _identity(tuple(compiler), *(f for f in flags if f.startswith('-m')))
    text = source.read_text(encoding='utf-8')
    name = f'{source.stem}_{_digest(chr(0).join([text, identity, *compiler, *flags, *link_flags]))}'
    folder = cache_folder()
    for path in folder.glob(f'{name}_*.so') if folder else ():
        if _is_intact(path):
            return ctypes.CDLL(str(path))
    # Several ranks may get here at once: each makes its own file and moves it into place.
    with tempfile.TemporaryDirectory(dir=folder) as room:
        thing, made = Path(room, 'a.o'), Path(room, 'a.so')
        _run([*compiler, *flags, '-c', str(source), '-o', str(thing)])
        _run([*compiler, '-shared', str(thing), '-o', str(made), *link_flags, '-lm'])
        library = ctypes.CDLL(str(made))
        if folder:
            with contextlib.suppress(OSError):
                os.replace(made, folder / f'{name}_{_digest(made.read_bytes())}.so')
    return library


def _digest(content: str | bytes) -> str:
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()[:24]


def _is_intact(path: Path) -> bool:
    """Whether a file is what its name says, and this user's: half a library crashes."""
    try:
        own = path.stat().st_uid in (0, getattr(os, 'geteuid', int)())
        return own and path.stem.rpartition('_')[2] == _digest(path.read_bytes())
    except OSError:
        return False


@functools.cache
def cache_folder() -> Path | None:
    """Where libraries are kept: ``$REGISTRY_LOSSES_CACHE``, else in the user's cache.

    None where nothing can be written: then every process makes its own.
    """
    # Path.home raises RuntimeError for a user without a home.
    with contextlib.suppress(OSError, RuntimeError):
        chosen = os.environ.get('REGISTRY_LOSSES_CACHE')
        if not chosen:
            base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
            chosen = str(Path(base, 'registry_losses'))
        folder = Path(chosen).expanduser().absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    return None
