"""A Slurm cluster of two virtual nodes on this machine, set up in a folder and taken down again.

    python -m tests.test_launchers.slurm_cluster start FOLDER    (prints what to export)
    python -m tests.test_launchers.slurm_cluster stop FOLDER

Needs root, and ``slurm-wlm`` and ``munge`` (Debian: ``apt-get install slurm-wlm munge``); no
systemd, no cgroups. The nodes n0 and n1 are two ``slurmd`` on this host; their names do not
resolve, as on many a cluster whose nodes are known to Slurm alone.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ('slurmctld', 'slurmd', 'srun', 'sbatch', 'scontrol', 'sinfo', 'munged')
NODES = ('n0', 'n1')
MUNGE_PID = 'munged.pid'


def why_not() -> str | None:
    """Why no cluster can be set up here; None where it can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f'not installed: {", ".join(missing)} (apt-get install slurm-wlm munge)'
    if os.geteuid() != 0:
        return 'needs root: slurmd and munged run as other users'
    return None


def start(folder: Path) -> dict[str, str]:
    """Start the daemons; return the environment variables that its commands need.

    Args:
        folder: Where everything goes; every user has to be able to enter the folders above.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / 'slurm.conf'
    config.write_text(_config(folder))
    _start_munge(folder)
    for name in ('state', 'spool', 'log'):
        (folder / name).mkdir(exist_ok=True)
    variables = dict(SLURM_CONF=str(config))
    env = {**os.environ, **variables}
    _call('slurmctld', '-f', config, env=env)
    for node in NODES:
        _call('slurmd', '-f', config, '-N', node, env=env)
    _wait_for_idle_nodes(folder, env)
    return variables


def stop(folder: Path) -> None:
    """Stop what :func:`start` started, by its pid files; jobs that still run are cancelled."""
    env = {**os.environ, 'SLURM_CONF': str(folder / 'slurm.conf')}
    pids = [_pid(folder / 'slurmctld.pid')]
    if pids[0] is not None:
        for command in (
            ['scancel', '--full', '--user=root'],
            ['scancel', '-s', 'KILL', '-u', 'root'],
        ):
            subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)
            time.sleep(1)
    pids += [_pid(folder / f'slurmd-{node}.pid') for node in NODES]
    pids.append(_pid(folder / MUNGE_PID))
    for pid in pids:
        if pid is not None:
            _end(pid)


def _config(folder: Path) -> str:
    host = socket.gethostname().split('.')[0]
    lines = [
        'ClusterName=test',
        f'SlurmctldHost={host}(127.0.0.1)',
        f'SlurmctldPort={_free_port()}',
        'SlurmUser=root',
        'SlurmdUser=root',
        'AuthType=auth/munge',
        f'AuthInfo=socket={folder}/munge.socket',
        'CryptoType=crypto/munge',
        # No cgroups and no device plugins: processes are followed by their group.
        'ProctrackType=proctrack/pgid',
        'TaskPlugin=task/none',
        'MpiDefault=none',
        'ReturnToService=2',
        'SelectType=select/cons_tres',
        'SelectTypeParameters=CR_Core',
        'JobRequeue=1',
        # Between the SIGTERM of a preemption and the SIGKILL.
        'KillWait=60',
        f'SlurmctldPidFile={folder}/slurmctld.pid',
        f'SlurmdPidFile={folder}/slurmd-%n.pid',
        f'StateSaveLocation={folder}/state',
        f'SlurmdSpoolDir={folder}/spool/%n',
        f'SlurmctldLogFile={folder}/log/slurmctld.log',
        f'SlurmdLogFile={folder}/log/slurmd-%n.log',
    ]
    lines += [
        f'NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()}'
        ' CPUs=2 RealMemory=1000'
        for node in NODES
    ]
    lines.append(
        f'PartitionName=p Nodes={",".join(NODES)} Default=YES State=UP OverSubscribe=YES'
        ' MaxTime=INFINITE'
    )
    return '\n'.join(lines) + '\n'


def _start_munge(folder: Path) -> None:
    """A munged of our own, with a key and a socket in the folder."""
    user = pwd.getpwnam('munge')
    key = folder / 'munge.key'
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    # munged refuses a folder that others may write to, or that is not its own.
    os.chown(key, user.pw_uid, user.pw_gid)
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o755)
    _call(
        'munged',
        '--force',
        f'--key-file={key}',
        f'--socket={folder}/munge.socket',
        f'--pid-file={folder}/{MUNGE_PID}',
        f'--log-file={folder}/munged.log',
        f'--seed-file={folder}/munge.seed',
        user='munge',
    )


def _wait_for_idle_nodes(folder: Path, env: dict[str, str], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    shown = ''
    while time.monotonic() < end:
        done = subprocess.run(
            ['sinfo', '-h', '-N', '-o', '%N %t'],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        shown = done.stdout + done.stderr
        if sorted(done.stdout.split('\n'))[-len(NODES) :] == [f'{node} idle' for node in NODES]:
            return
        time.sleep(0.5)
    logs = ''.join(p.read_text()[-1500:] for p in sorted((folder / 'log').glob('*.log')))
    raise RuntimeError(f'the nodes are not up after {seconds:.0f} s: {shown}\n{logs}')


def _call(
    program: str, *arguments: object, env: dict[str, str] | None = None, user: str | None = None
) -> None:
    command = [_program(program) or program, *map(str, arguments)]
    done = subprocess.run(
        command, env=env, user=user, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise RuntimeError(f'{" ".join(command)} failed: {done.stdout}{done.stderr}')


def _program(name: str) -> str | None:
    return shutil.which(name, path=f'{os.environ.get("PATH", "")}:/usr/sbin:/usr/local/sbin')


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def _pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _end(pid: int, seconds: float = 20) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def main() -> None:
    """Start or stop from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('what', choices=('start', 'stop'))
    parser.add_argument('folder', type=Path)
    args = parser.parse_args()
    if args.what == 'stop':
        stop(args.folder.resolve())
        return
    reason = why_not()
    if reason:
        sys.exit(reason)
    for name, value in start(args.folder.resolve()).items():
        print(f'export {name}={value}')


if __name__ == '__main__':
    main()
