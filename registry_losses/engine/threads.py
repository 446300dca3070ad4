"""How many threads a process computes with: of the cores it may use, those that are free.

PyTorch takes every core of the machine. In a container that may use two of sixty-four, or
beside other programs that keep the cores busy, its threads then wait for each other: a step
that takes a second with one thread took ten.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

# How many processes of this job share the machine, by launcher.
_LOCAL_SIZES = ('LOCAL_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_SIZE', 'SLURM_NTASKS_PER_NODE')


_chosen: Threads | None = None


@dataclass(frozen=True)
class Threads:
    """A number of threads, and why."""

    count: int
    reason: str

    def __str__(self) -> str:
        """For the log."""
        return f'{self.count} thread{"s" * (self.count != 1)} ({self.reason})'


def choose_threads(
    env: Mapping[str, str] | None = None,
    *,
    cores: int | None = None,
    quota: float | None = None,
    load: float | None = None,
) -> Threads:
    """The number of threads for this process.

    ``OMP_NUM_THREADS`` decides where it is set. Else: the cores that this process may use
    (its affinity and its cgroup's quota), without those that others keep busy, shared among
    the processes of the job on this machine; at least one.

    Args:
        env: The environment; the process's own by default.
        cores: Cores by affinity; asked of the system by default.
        quota: Cores by cgroup; likewise.
        load: Cores that are busy, by :func:`busy_cores`; likewise.
    """
    if env is None and _chosen is not None:
        return _chosen  # the variable is our own by now
    env = os.environ if env is None else env
    given = env.get('OMP_NUM_THREADS', '').split(',')[0]
    if given.isdigit() and int(given) > 0:
        return Threads(int(given), 'OMP_NUM_THREADS')
    cores = _affinity() if cores is None else cores
    quota = cgroup_cores() if quota is None else quota
    load = busy_cores() if load is None else load
    usable = cores if math.isinf(quota) else max(1, min(cores, math.floor(quota)))
    busy = min(round(load), cores)
    reason = f'of {usable} usable cores'
    # In a container the load is the whole machine's: what is free there is free here.
    free = max(1, min(usable, cores - busy))
    if free < usable:
        reason += f', {busy} of {cores} cores busy'
    sizes = [env[name] for name in _LOCAL_SIZES if env.get(name, '').isdigit()]
    ranks = int(sizes[0]) if sizes else 1
    if ranks > 1:
        reason += f', shared by {ranks} processes'
    return Threads(max(1, free // ranks), reason + '; OMP_NUM_THREADS decides otherwise')


def use_threads(threads: Threads) -> None:
    """Let PyTorch, and what this process starts, compute with so many threads."""
    global _chosen
    _chosen = threads
    torch.set_num_threads(threads.count)
    os.environ.setdefault('OMP_NUM_THREADS', str(threads.count))
    os.environ.setdefault('MKL_NUM_THREADS', str(threads.count))


def busy_cores(seconds: float = 0.3, stat: str | Path = '/proc/stat') -> float:
    """How many cores others keep busy: in the last minute and still now.

    What has just ended, like the installation before a first training, counts no more.

    Args:
        seconds: How long is looked at what is busy now, if the last minute was.
        stat: Linux's times of the cores; without it the last minute alone counts.
    """
    load = os.getloadavg()[0]
    if round(load) < 1:
        return load
    try:
        before = _core_times(stat)
        time.sleep(seconds)
        total, idle = (b - a for a, b in zip(before, _core_times(stat)))
    except (OSError, ValueError, IndexError):
        return load
    return min(load, (os.cpu_count() or 1) * (1 - idle / total)) if total > 0 else load


def _core_times(stat: str | Path) -> tuple[int, int]:
    """All time of all cores, and the idle part of it, in ticks."""
    ticks = [int(word) for word in Path(stat).read_text().splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]  # idle, and waiting for a disk


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def cgroup_cores(root: str | Path = '/sys/fs/cgroup', own: str | None = None) -> float:
    """The cores that this process's control group may use; infinite where none is set.

    Args:
        root: Where the groups are mounted.
        own: Contents of ``/proc/self/cgroup``; read by default.
    """
    root = Path(root)
    if own is None:
        try:
            own = Path('/proc/self/cgroup').read_text()
        except OSError:
            own = ''
    folders = [root, root / 'cpu']
    for line in own.splitlines():
        relative = line.split(':', 2)[-1].lstrip('/')
        parts = relative.split('/') if relative else []
        for depth in range(len(parts), 0, -1):
            folders += [root.joinpath(*parts[:depth]), root.joinpath('cpu', *parts[:depth])]
    limits = [_limit(folder) for folder in folders]
    return min(limits, default=math.inf)


def _limit(folder: Path) -> float:
    try:
        if (folder / 'cpu.max').is_file():  # version 2
            quota, period = (folder / 'cpu.max').read_text().split()[:2]
            return math.inf if quota == 'max' else int(quota) / int(period)
        quota = (folder / 'cpu.cfs_quota_us').read_text().strip()
        period = (folder / 'cpu.cfs_period_us').read_text().strip()
        return math.inf if int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
