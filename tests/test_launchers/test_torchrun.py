"""Training under torchrun: several hosts, faults of a rank, restarts."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from registry_losses.testing.training import TOOLS

from .runs import (
    CONFIG,
    assert_same_weights,
    call,
    environment,
    free_port,
    hooks,
    train_words,
    wait_for,
)

pytestmark = pytest.mark.slow
DIST_TRAIN = ['bash', str(TOOLS / 'dist_train.sh'), CONFIG]


def start(command, env, log):
    """Start an agent in a session of its own."""
    return subprocess.Popen(
        command,
        env=environment(env),
        stdout=log.open('w'),
        stderr=subprocess.STDOUT,
        cwd=TOOLS.parent,
        start_new_session=True,
    )


def finish(agents, logs, seconds=400):
    """Wait until both agents end well; kill what is left."""
    try:
        end = time.monotonic() + seconds
        codes = [agent.wait(max(end - time.monotonic(), 1)) for agent in agents]
    finally:
        for agent in agents:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(agent.pid, signal.SIGKILL)
    assert codes == [0, 0], '\n'.join(log.read_text()[-4000:] for log in logs)


@pytest.fixture
def two_hosts():
    """Two network namespaces with addresses of their own, joined by a cable."""
    if shutil.which('ip') is None or os.geteuid() != 0:
        pytest.skip('needs root and `ip` (iproute2) for network namespaces')
    names = [f'rl{os.getpid()}{side}' for side in 'ab']
    ip = ['ip', 'netns', 'exec']
    hosts = []
    try:
        for name in names:
            done = subprocess.run(
                ['ip', 'netns', 'add', name], capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.skip(f'no network namespaces here: {done.stderr.strip()}')
        cable = ['type', 'veth', 'peer', 'name', 'cable', 'netns', names[1]]
        call(['ip', 'link', 'add', 'cable', 'netns', names[0], *cable])
        for number, name in enumerate(names, start=1):
            address = f'10.123.45.{number}'
            call([*ip, name, 'ip', 'addr', 'add', f'{address}/24', 'dev', 'cable'])
            for device in ('lo', 'cable'):
                call([*ip, name, 'ip', 'link', 'set', device, 'up'])
            hosts.append(([*ip, name], address))
        yield hosts
    finally:
        for name in names:
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True, check=False)


def train_on_two(tmp_path, small_digits, starts, port):
    """Two agents of one process each; the process of the second is killed in its third step."""
    marker = tmp_path / 'marker'
    work = [*small_digits, *hooks(f"dict(type='FaultHook', marker='{marker}')")]
    _, *words = train_words(tmp_path / 'run', work, processes=2, more=['--resume'])
    agents, logs = [], []
    for number, (before, env) in enumerate(starts):
        logs.append(tmp_path / f'agent{number}.log')
        env = dict(env, NNODES='2', NODE_RANK=str(number), PORT=str(port), MAX_RESTARTS='1')
        agents.append(start([*before, *DIST_TRAIN, '1', *words], env, logs[-1]))
    finish(agents, logs)
    assert marker.exists(), 'nothing was killed'
    text = ''.join(log.read_text() for log in logs)
    assert 'iter_2.pth' in text, 'it goes on from the last checkpoint'


def test_two_agents_on_loopback_outlive_a_killed_process(tmp_path, small_digits, one_process):
    starts = [([], dict(MASTER_ADDR='127.0.0.1', LOCAL_ADDR='127.0.0.1'))] * 2
    train_on_two(tmp_path, small_digits, starts, free_port())
    assert_same_weights(tmp_path / 'run', one_process)


def test_two_hosts_outlive_a_killed_process(two_hosts, tmp_path, small_digits, one_process):
    master = two_hosts[0][1]
    starts = [
        # gloo would take the address of the host's name, which is loopback.
        (before, dict(MASTER_ADDR=master, LOCAL_ADDR=address, GLOO_SOCKET_IFNAME='cable'))
        for before, address in two_hosts
    ]
    train_on_two(tmp_path, small_digits, starts, 29511)
    assert_same_weights(tmp_path / 'run', one_process)


def test_two_hosts_without_restarts(tmp_path, small_digits, one_process):
    _, *words = train_words(tmp_path / 'run', small_digits, processes=2)
    port, agents, logs = free_port(), [], []
    for number in range(2):
        logs.append(tmp_path / f'agent{number}.log')
        env = dict(NNODES='2', NODE_RANK=str(number), MASTER_ADDR='127.0.0.1', PORT=str(port))
        agents.append(start([*DIST_TRAIN, '1', *words], env, logs[-1]))
    finish(agents, logs)
    assert_same_weights(tmp_path / 'run', one_process)


def test_four_processes_with_a_restart_equal_one(tmp_path, small_digits, one_process):
    marker = tmp_path / 'marker'
    work = [*small_digits, *hooks(f"dict(type='FaultHook', marker='{marker}', rank=3)")]
    _, *words = train_words(tmp_path / 'run', work, processes=4, more=['--resume'])
    call([*DIST_TRAIN, '4', *words], env=dict(MAX_RESTARTS='1'))
    assert marker.exists(), 'nothing was killed'
    assert_same_weights(tmp_path / 'run', one_process)


@pytest.mark.parametrize(('fault', 'limit'), [('kill', 45), ('raise', 45), ('hang', 75)])
def test_a_rank_that_dies_raises_or_hangs_ends_the_job(fault, limit, tmp_path, small_digits):
    marker = tmp_path / 'marker'
    node = f"dict(type='FaultHook', marker='{marker}', what='{fault}')"
    work = [*small_digits, *hooks(node), 'env_cfg.dist_cfg.timeout=20']
    _, *words = train_words(tmp_path / 'run', work, processes=2)
    done = call([*DIST_TRAIN, '2', *words], check=False)
    waited = time.time() - float(marker.read_text())
    assert done.returncode != 0
    # torchrun gives the others 30 s after its SIGTERM; a hanging rank is noticed after 20.
    assert waited < limit, f'{waited:.0f} s from the fault to the end of the job'


def test_sigterm_to_torchrun_saves(tmp_path, small_digits, one_process):
    pace = f"dict(type='PaceHook', folder='{tmp_path}', seconds=1.0)"
    work = [*small_digits, *hooks(pace), 'default_hooks.checkpoint.interval=100']
    _, *words = train_words(tmp_path / 'run', work, processes=2, more=['--resume'])
    log = tmp_path / 'log'
    agent = start([*DIST_TRAIN, '2', *words], {}, log)
    wait_for(tmp_path / 'step_2')
    os.kill(agent.pid, signal.SIGTERM)  # the script has become torchrun
    assert agent.wait(60) != 0
    assert list((tmp_path / 'run').glob('interrupted_iter_*.pth')), log.read_text()[-3000:]
    call([*DIST_TRAIN, '2', *words], env={})
    assert_same_weights(tmp_path / 'run', one_process)


@pytest.mark.parametrize('restarts', ['0', '1'])
def test_a_host_that_never_comes(restarts, tmp_path, small_digits):
    _, *words = train_words(tmp_path / 'run', small_digits, processes=2)
    host = dict(NNODES='2', NODE_RANK='0', MASTER_ADDR='127.0.0.1', PORT=str(free_port()))
    begin = time.monotonic()
    env = dict(host, RDZV_TIMEOUT='10', MAX_RESTARTS=restarts)
    done = call([*DIST_TRAIN, '1', *words], env=env, check=False)
    assert done.returncode != 0
    assert re.search('waiting for clients|RendezvousTimeoutError', done.stderr), done.stderr[-2000:]
    assert time.monotonic() - begin < 90, 'ten seconds, and starting Python on a loaded machine'


@pytest.mark.parametrize(
    ('differs', 'said'),
    [
        ([{}, dict(NNODES='3')], 'NNODES is not the same on all ranks: 2 on rank 0, 3 on rank 1'),
        ([dict(NNODES='3'), {}], 'waiting for clients|wait timeout'),
        ([{}, dict(PORT=None)], 'waiting for clients|wait timeout'),
    ],
)
def test_hosts_that_were_told_something_else_end_in_time(differs, said, tmp_path, small_digits):
    _, *words = train_words(tmp_path / 'run', small_digits, processes=2)
    told = dict(NNODES='2', MASTER_ADDR='127.0.0.1', PORT=str(free_port()), RDZV_TIMEOUT='10')
    begin = time.monotonic()
    logs = [tmp_path / f'agent{number}.log' for number in (0, 1)]
    agents = []
    for number, other in enumerate(differs):
        env = {**told, **{k: v or str(free_port()) for k, v in other.items()}}
        agents.append(
            start([*DIST_TRAIN, '1', *words], env | dict(NODE_RANK=str(number)), logs[number])
        )
    try:
        codes = [agent.wait(200) for agent in agents]
    finally:
        for agent in agents:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(agent.pid, signal.SIGKILL)
    text = ''.join(log.read_text() for log in logs)
    assert 0 not in codes, text[-3000:]
    assert re.search(said, text), text[-3000:]
    assert time.monotonic() - begin < 120, 'ten seconds, and starting Python on a loaded machine'
    assert not list(tmp_path.glob('run/*.pth')), 'neither has trained'


@pytest.mark.parametrize(
    ('processes', 'env', 'said'),
    [
        ('0', {}, "expected the number of processes, got '0'"),
        ('two', {}, "expected the number of processes, got 'two'"),
        ('1', dict(NNODES='2'), "set NODE_RANK to this host's number"),
        ('1', dict(NNODES='2', NODE_RANK='1'), 'set MASTER_ADDR'),
        (
            '1',
            dict(NNODES='2', NODE_RANK='2', MASTER_ADDR='::1'),
            'of NNODES=2 hosts the last is 1',
        ),
        ('1', dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='nowhere.invalid'), 'no network address'),
        ('1', dict(PORT='a'), "PORT: expected a whole number, got 'a'"),
    ],
)
@pytest.mark.parametrize('script', ['train', 'test'])
def test_wrong_numbers_are_named_before_torchrun_starts(script, processes, env, said):
    words = [CONFIG, *(['a.pth'] if script == 'test' else []), processes]
    done = call(['bash', TOOLS / f'dist_{script}.sh', *words], env=env, check=False, timeout=30)
    assert done.returncode == 2
    assert said in done.stderr
    assert 'Traceback' not in done.stderr


def test_the_summary_of_torchrun_names_the_cause(tmp_path):
    done = call([*DIST_TRAIN[:2], 'nowhere.py', '2', '--work-dir', tmp_path], check=False)
    assert "ConfigError: no config file 'nowhere.py'" in done.stderr.rpartition('Root Cause')[2]
