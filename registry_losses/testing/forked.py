"""Trainings in forked processes: what takes seconds to import is imported once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..engine import Runner

Main = Callable[[list[str]], None]


def free_port() -> int:
    """A port of this host that nobody listens on."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def start(
    work_dir: Path,
    *arguments: str,
    main: Main,
    config: str | os.PathLike,
    options: Sequence[str] = (),
    processes: int = 1,
    before: Callable[[], None] = lambda: None,
) -> list[int]:
    """Start a training.

    Args:
        work_dir: Its folder, where rank R's output becomes ``outputR.txt``.
        *arguments: Further words of the command line.
        main: What trains, given the words of a command line: ``commands.train.train_main``.
        config: File or name of the config.
        options: ``KEY=VALUE`` words for ``--cfg-options``.
        processes: How many; from two on they are the ranks of one run.
        before: Called in each process before it trains.

    Returns:
        The ids of the processes, by rank.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    port, pids = free_port(), []
    words = [str(config), '--work-dir', str(work_dir), *arguments]
    words += ['--launcher', 'pytorch'] if processes > 1 else []
    words += ['--cfg-options', f'experiment_name=fork{time.time_ns()}', *options]
    for rank in range(processes):
        pid = os.fork()
        if pid == 0:
            _child(work_dir / f'output{rank}.txt', rank, processes, port, before, main, words)
        pids.append(pid)
    return pids


def _child(
    log: Path,
    rank: int,
    processes: int,
    port: int,
    before: Callable[[], None],
    main: Main,
    words: list[str],
) -> None:
    code = 70
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout = os.fdopen(1, 'w', buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, 'w', buffering=1, closefd=False)
        if processes > 1:
            os.environ.update(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes),
                MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), GLOO_SOCKET_IFNAME='lo',
            )  # fmt: skip
        # It lists compilers, for seconds.
        Runner._log_env = lambda self, cfg: None  # type: ignore[method-assign]
        before()
        main(words)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pids: Sequence[int], *, timeout: float = 60) -> list[int]:
    """Exit codes, negative for signals; whoever lasts longer than the timeout is an error."""
    end = time.monotonic() + timeout
    codes: dict[int, int] = {}
    while len(codes) < len(pids):
        for pid in pids:
            if pid not in codes:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes[pid] = os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            for pid in set(pids) - set(codes):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            raise AssertionError(f'{len(pids) - len(codes)} processes hang after {timeout} s')
        time.sleep(0.005)
    return [codes[pid] for pid in pids]


def train(work_dir: Path, *arguments: str, timeout: float = 60, **options: Any) -> list[int]:
    """:func:`start` a training and :func:`wait` for it."""
    return wait(start(work_dir, *arguments, **options), timeout=timeout)


def output(work_dir: Path, rank: int = 0) -> str:
    """What a rank wrote to stdout and stderr."""
    return (work_dir / f'output{rank}.txt').read_text()
