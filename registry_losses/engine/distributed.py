"""Start of a distributed run: one way in for torchrun, Slurm and MPI, with or without GPUs."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import socket
import subprocess
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed as torch_dist

from ..errors import ConfigError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
DEFAULT_PORT = 29500
# A rank may wait this many seconds for another, which may be evaluating or drawing data. A
# rank that dies is noticed at once, by gloo itself or by the launcher.
DEFAULT_TIMEOUT = 600
_timeout = datetime.timedelta(seconds=DEFAULT_TIMEOUT)


@dataclass(frozen=True)
class Rendezvous:
    """Who this process is and where the processes meet."""

    rank: int
    world_size: int
    local_rank: int
    address: str
    port: int


def read_rendezvous(launcher: str, env: Mapping[str, str] | None = None) -> Rendezvous:
    """Read the launcher's environment variables.

    Args:
        launcher: 'pytorch' (torchrun), 'slurm' (srun) or 'mpi' (Open MPI, MPICH, Intel MPI).
        env: The variables; the process's own by default.

    Raises:
        ConfigError: If the launcher is unknown, or a variable it sets is missing or no
            number: the message names the variable and how the command should be started.
    """
    env = os.environ if env is None else env
    readers = {'pytorch': _from_torchrun, 'slurm': _from_slurm, 'mpi': _from_mpi}
    if launcher not in readers:
        raise ConfigError(f'launcher: expected one of {", ".join(LAUNCHERS)}, got {launcher!r}')
    try:
        meeting = readers[launcher](env)
    except KeyError as error:
        start = {'pytorch': 'torchrun (tools/dist_train.sh)', 'slurm': 'srun', 'mpi': 'mpirun'}
        raise ConfigError(
            f'launcher {launcher!r}: the environment variable {error.args[0]} is not set;'
            f' was the command started by {start[launcher]}?'
        ) from None
    if meeting.rank >= meeting.world_size:
        raise ConfigError(
            f'launcher {launcher!r}: this process says it is rank {meeting.rank} of'
            f' {meeting.world_size}: ranks count from 0'
        )
    return meeting


# What each launcher says of the number of its processes, to them alone.
_LAUNCHED = {
    'pytorch': ('TORCHELASTIC_RUN_ID', 'WORLD_SIZE'),
    'slurm': ('SLURM_STEP_NUM_TASKS', 'SLURM_STEP_NUM_TASKS'),
    'mpi': ('OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_SIZE'),
}


def check_not_launched(env: Mapping[str, str] | None = None) -> None:
    """Refuse a process that is one of several, and was not told which launcher started them.

    Each would train by itself, and all would write into one work directory.

    Raises:
        ConfigError: Naming the option.
    """
    env = os.environ if env is None else env
    for launcher, (sign, count) in _LAUNCHED.items():
        if sign in env and env.get(count, '1').isdigit() and int(env.get(count, '1')) > 1:
            raise ConfigError(
                f'{count}={env[count]}: this is one of {env[count]} processes, each of which would'
                f' train by itself into one work directory: add --launcher {launcher}'
            )


def _number(env: Mapping[str, str], name: str, default: int | None = None) -> int:
    """A variable that holds a whole number.

    Raises:
        KeyError: If it is not there, and has no default.
        ConfigError: If it holds something else.
    """
    text = env[name] if default is None else env.get(name) or str(default)
    if not re.fullmatch(r'\s*\d+\s*', text):
        raise ConfigError(f'environment variable {name}: expected a whole number, got {text!r}')
    return int(text)


def _from_torchrun(env: Mapping[str, str]) -> Rendezvous:
    rank = _number(env, 'RANK')
    return Rendezvous(
        rank=rank,
        world_size=_number(env, 'WORLD_SIZE'),
        local_rank=_number(env, 'LOCAL_RANK', rank),
        address=env['MASTER_ADDR'],
        port=_number(env, 'MASTER_PORT'),
    )


def _from_slurm(env: Mapping[str, str]) -> Rendezvous:
    rank = _number(env, 'SLURM_PROCID')
    # Two jobs on one node must not meet at one port: spread by job id.
    port = _number(env, 'MASTER_PORT', DEFAULT_PORT + _number(env, 'SLURM_JOB_ID', 0) % 1000)
    address = env.get('MASTER_ADDR')
    if not address:
        # Of the job step, where there is one: srun may use a part of the job's nodes.
        nodes = env.get('SLURM_STEP_NODELIST') or env['SLURM_NODELIST']
        address = slurm_address(first_slurm_host(nodes))
    return Rendezvous(
        rank=rank,
        world_size=_number(env, 'SLURM_NTASKS'),
        local_rank=_number(env, 'SLURM_LOCALID', rank),
        address=address,
        port=port,
    )


def _from_mpi(env: Mapping[str, str]) -> Rendezvous:
    if 'OMPI_COMM_WORLD_RANK' in env:
        names = ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK')
    elif 'PMI_RANK' in env:
        names = ('PMI_RANK', 'PMI_SIZE', 'MPI_LOCALRANKID')
    else:
        raise KeyError('OMPI_COMM_WORLD_RANK')
    rank, size = _number(env, names[0]), _number(env, names[1])
    local_rank = _number(env, names[2], rank)
    address = env.get('MASTER_ADDR')
    if address is None:
        if _number(env, 'OMPI_COMM_WORLD_LOCAL_SIZE', size) != size:
            raise KeyError('MASTER_ADDR')  # several hosts: only the user knows the first one
        address = '127.0.0.1'
    # Open MPI's name of the job, the same on all ranks: two jobs on one host do not meet.
    job = env.get('PMIX_NAMESPACE')
    port = DEFAULT_PORT + (zlib.crc32(job.encode()) % 1000 if job else 0)
    return Rendezvous(rank, size, local_rank, address, _number(env, 'MASTER_PORT', port))


def first_slurm_host(nodelist: str) -> str:
    """The first host of a Slurm node list, e.g. ``'gpu[03-05,9],login1'`` -> ``'gpu03'``."""
    if shutil.which('scontrol'):
        hosts = subprocess.run(
            ['scontrol', 'show', 'hostnames', nodelist], capture_output=True, text=True, check=False
        ).stdout.split()
        if hosts:
            return hosts[0]
    match = re.match(r'([^\[,]+)(?:\[([^\],-]+))?', nodelist)
    if match is None:
        raise ConfigError(f'SLURM_NODELIST: cannot read {nodelist!r}')
    return match.group(1) + (match.group(2) or '')


def resolves(host: str) -> bool:
    """Whether this machine knows an address of ``host``."""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def slurm_address(host: str) -> str:
    """Where a Slurm node is reached: by its name, or by the address that Slurm has for it.

    Raises:
        ConfigError: If neither resolves here; MASTER_ADDR then has to say it.
    """
    if resolves(host):
        return host
    address = None
    if shutil.which('scontrol'):
        shown = subprocess.run(
            ['scontrol', 'show', 'node', host], capture_output=True, text=True, check=False
        ).stdout
        found = re.search(r'\bNodeAddr=(\S+)', shown)
        address = found.group(1) if found else None
        if address and resolves(address):
            return address
    raise ConfigError(
        f"launcher 'slurm': the first node of the job, {host}"
        + (f' (NodeAddr={address} in Slurm)' if address and address != host else '')
        + ', has no network address that this machine can find:'
        ' set MASTER_ADDR to the host name or IP address of that node before srun'
    )


def init_distributed(
    launcher: str, *, backend: str | None = None, timeout: float | None = None, **options: Any
) -> None:
    """Join the process group.

    Stands for MMEngine's ``init_dist``, which calls ``torch.cuda.set_device`` whatever
    the machine has, and sets no LOCAL_RANK under MPI. MMEngine's runner leaves a process
    group that exists alone.

    Args:
        launcher: 'pytorch', 'slurm' or 'mpi'.
        backend: 'nccl', 'gloo', ...; without CUDA always 'gloo'.
        timeout: Seconds after which a rank that waits for one that hangs or is gone gives
            up (``env_cfg.dist_cfg.timeout``); by default :data:`DEFAULT_TIMEOUT`.
        **options: Passed to ``torch.distributed.init_process_group``.

    Raises:
        ConfigError: If the launcher's variables are missing, the address does not resolve,
            the port is taken, or the other ranks have not come within the timeout.
    """
    meeting = read_rendezvous(launcher)
    if not resolves(meeting.address):
        # PyTorch would try again until the timeout.
        raise ConfigError(
            f'launcher {launcher!r}: MASTER_ADDR={meeting.address} has no network address that'
            ' this machine can find: set it to the host name or IP address of the node of rank 0'
        )
    os.environ.update(
        RANK=str(meeting.rank),
        WORLD_SIZE=str(meeting.world_size),
        LOCAL_RANK=str(meeting.local_rank),
        MASTER_ADDR=meeting.address,
        MASTER_PORT=str(meeting.port),
    )
    global _timeout
    timeout = DEFAULT_TIMEOUT if timeout is None else timeout
    options['timeout'] = _timeout = datetime.timedelta(seconds=timeout)
    if torch.cuda.is_available():
        torch.cuda.set_device(meeting.local_rank % torch.cuda.device_count())
        backend = backend or 'nccl'
    else:
        backend = 'gloo'
    try:
        torch_dist.init_process_group(backend=backend, **options)
    except RuntimeError as error:
        # By their text: PyTorch before 2.4 has no classes for these.
        told = str(error).splitlines()[0]
        if 'EADDRINUSE' in told or 'address already in use' in told.lower():
            raise ConfigError(
                f'launcher {launcher!r}: port {meeting.port} of {meeting.address}, at which the'
                ' ranks meet, is taken by another process: set MASTER_PORT to a free one'
            ) from error
        if 'timed out' in told.lower() or 'timeout' in told.lower():
            raise ConfigError(
                f'launcher {launcher!r}: rank {meeting.rank} of {meeting.world_size} waited for'
                f' {timeout:.0f} s (env_cfg.dist_cfg.timeout) at {meeting.address}:{meeting.port},'
                f' and not all ranks came ({told}): were all {meeting.world_size} started, with'
                ' this address and port, and what do the messages of the others say?'
            ) from error
        raise


def group_timeout() -> datetime.timedelta:
    """How long a rank waits for another, for groups beside the first: PyTorch's is half an hour."""
    return _timeout
