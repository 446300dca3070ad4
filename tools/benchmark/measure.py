"""Time and memory of a call, in units that compare across machines."""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from registry_losses.testing.memory import peak_bytes

PASS_FLOATS = 8_000_000
# More than any cache holds, so that what is read next comes from memory.
FLUSH_BYTES = 1 << 30


def known_device(name: str) -> torch.device:
    """The argument of ``--device``; a device that is not here is one line, no traceback."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise argparse.ArgumentTypeError(f'no device {name!r} here') from error
    return device


def read_size(text: str) -> tuple[int, int]:
    """``'100kx80'`` to ``(100000, 80)``."""
    try:
        rows, classes = text.split('x')
        unit = {'k': 1_000, 'M': 1_000_000}.get(rows[-1:], 1)
        size = int(rows.rstrip('kM')) * unit, int(classes)
    except ValueError:
        size = 0, 0
    if min(size) < 1:
        raise argparse.ArgumentTypeError(f'expected ROWSxCLASSES as in 100kx80, got {text!r}')
    return size


def size_name(text: str) -> str:
    """A size as it is written, once it is sure that it is one."""
    read_size(text)
    return text


def synchronize(device: torch.device) -> None:
    """Wait for what was launched."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def best_ms(
    call: Callable[[], Any], device: torch.device, repeat: int = 7, seconds: float = 0.0
) -> float:
    """The shortest of several runs after a first one, in milliseconds.

    Args:
        call: What to time.
        device: Where it runs.
        repeat: Runs at least.
        seconds: More runs until this much time has gone by, so that short calls get
            past the noise of a shared machine.
    """
    call()
    best, runs = float('inf'), 0
    end = time.perf_counter() + seconds
    while runs < repeat or time.perf_counter() < end:
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
        runs += 1
    return best * 1e3


def pass_ms(device: torch.device) -> float:
    """One read-write pass: ``torch.add(x, 1, out=y)`` over 8 M floats."""
    x = torch.rand(PASS_FLOATS, device=device)
    y = torch.empty_like(x)
    return best_ms(lambda: torch.add(x, 1, out=y), device, seconds=0.5)


def flusher(device: torch.device) -> Callable[[], Any]:
    """A call that turns everything out of the caches; takes a few tenths of a second."""
    if device.type == 'cuda':
        junk = torch.zeros(FLUSH_BYTES // 16, device=device)
    else:
        junk = torch.zeros(FLUSH_BYTES // 4)
    return lambda: junk.add_(1)


def cold_ms(
    call: Callable[[], Any],
    device: torch.device,
    repeat: int = 7,
    flush: Callable[[], Any] | None = None,
) -> float:
    """The shortest of several runs of a call that finds nothing in the caches.

    A large third-level cache may hold the 64 MB of a pass and run it twice as fast as
    memory does; in a training step the network has worked in between.
    """
    flush = flush or flusher(device)
    call()
    best = float('inf')
    for _ in range(repeat):
        flush()
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def cold_pass_ms(device: torch.device) -> float:
    """One read-write pass as in :func:`pass_ms`, from memory to memory."""
    x = torch.rand(PASS_FLOATS, device=device)
    y = torch.empty_like(x)
    return cold_ms(lambda: torch.add(x, 1, out=y), device)


def peak_mb(call: Callable[[], Any], device: torch.device) -> float:
    """The most that tensors made during the call hold at once, results included, in MB."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    call()  # caches are no part of it
    return peak_bytes(call) / 1e6
