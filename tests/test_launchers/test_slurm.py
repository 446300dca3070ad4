"""Training on a Slurm cluster of two virtual nodes on this machine."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from registry_losses.testing.training import TOOLS, assert_same_training_state, final_state

from . import slurm_cluster
from .runs import (
    CONFIG,
    TRAIN,
    assert_same_weights,
    call,
    environment,
    hooks,
    options,
    train_words,
    wait_for,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        slurm_cluster.why_not() is not None, reason=f'no Slurm here: {slurm_cluster.why_not()}'
    ),
]


@pytest.fixture(scope='module')
def cluster():
    """Environment variables of a running cluster."""
    with tempfile.TemporaryDirectory(prefix='slurm') as folder:
        try:
            yield slurm_cluster.start(Path(folder))
        finally:
            slurm_cluster.stop(Path(folder))


@pytest.mark.parametrize('processes', [2, 4])
def test_srun_gives_the_weights_of_one_process(
    processes, cluster, tmp_path, small_digits, one_process
):
    # MASTER_ADDR is not set, and the names n0 and n1 do not resolve.
    words = train_words(tmp_path, small_digits, processes=processes, more=['--launcher', 'slurm'])
    call(['srun', '-N2', f'-n{processes}', sys.executable, TRAIN, *words], env=cluster)
    assert_same_weights(tmp_path, one_process)


def test_slurm_train_sh(cluster, tmp_path, small_digits, one_process):
    _, *words = train_words(tmp_path, small_digits, processes=2)
    env = dict(cluster, GPUS='2', GPUS_PER_NODE='0', CPUS_PER_TASK='1', SRUN_ARGS='-N2')
    call(['bash', TOOLS / 'slurm_train.sh', 'p', 'digits', CONFIG, *words], env=env)
    assert_same_weights(tmp_path, one_process)


def test_without_an_address_the_run_ends_at_once_and_says_what_to_set(
    cluster, tmp_path, small_digits
):
    words = train_words(tmp_path, small_digits, processes=2, more=['--launcher', 'slurm'])
    # No scontrol on the tasks' path, so that the node's address cannot be asked for.
    begin = time.monotonic()
    done = call(
        ['srun', '-N2', '-n2', '/usr/bin/env', 'PATH=/nowhere', sys.executable, TRAIN, *words],
        env=cluster,
        check=False,
    )
    assert done.returncode == 1
    assert 'n0, has no network address' in done.stderr
    assert 'set MASTER_ADDR' in done.stderr
    assert 'Traceback' not in done.stderr
    assert time.monotonic() - begin < 90, 'most of it importing PyTorch on a loaded machine'


@pytest.mark.parametrize('fault', ['kill', 'raise'])
def test_a_rank_that_dies_or_raises_ends_the_job(fault, cluster, tmp_path, small_digits):
    marker = tmp_path / 'marker'
    node = f"dict(type='FaultHook', marker='{marker}', what='{fault}')"
    work = [*small_digits, *hooks(node)]
    words = train_words(tmp_path / 'run', work, processes=2, more=['--launcher', 'slurm'])
    done = call(
        ['srun', '--kill-on-bad-exit=1', '-N2', '-n2', sys.executable, TRAIN, *words],
        env=cluster,
        check=False,
    )
    waited = time.time() - float(marker.read_text())
    assert done.returncode != 0
    assert waited < 30, f'{waited:.0f} s from the fault to the end of the job'


def submit(cluster, folder, lines, *arguments):
    """Submit a batch script; return the job's number."""
    script = folder / 'job.sh'
    script.write_text('\n'.join(['#!/bin/bash', *lines]) + '\n')
    log = f'--output={folder}/job-%A_%a.log'
    done = call(
        ['sbatch', '--parsable', log, '--open-mode=append', *arguments, script], env=cluster
    )
    return done.stdout.strip()


def wait_for_the_end(cluster, job, seconds=500):
    """The state in which a job ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shown = subprocess.run(
            ['scontrol', 'show', 'job', job],
            env=environment(cluster),
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        words = [w.partition('=')[2] for w in shown.split() if w.startswith('JobState=')]
        if words and not {'PENDING', 'RUNNING', 'COMPLETING', 'REQUEUED'} & set(words):
            return words
        time.sleep(1)
    raise AssertionError(f'job {job} has not ended after {seconds} s:\n{shown}')


def test_a_requeued_job_goes_on_by_itself(cluster, tmp_path):
    steps = 8
    data = options(tmp_path / 'digits', steps=steps)
    # No checkpoint before the end: what the job goes on from is what SIGTERM saved.
    data.append('default_hooks.checkpoint.interval=100')
    pace = f"dict(type='PaceHook', folder='{tmp_path}', seconds=1.0)"
    plain = tmp_path / 'plain'
    words = ['--launcher', 'slurm', '--resume']
    srun = ['srun', '-N2', '-n2', '--kill-on-bad-exit=1', sys.executable, TRAIN]
    call([*srun, *train_words(plain, data, processes=2, more=words)], env=cluster)

    requeued = tmp_path / 'requeued'
    work = train_words(requeued, [*data, *hooks(pace)], processes=2, more=words)
    command = ' '.join(f"'{word}'" if ' ' not in word else f'"{word}"' for word in [*srun, *work])
    job = submit(cluster, tmp_path, [f'exec {command}'], '--requeue', '-N2', '-n2')
    wait_for(tmp_path / 'step_3')
    call(['scontrol', 'requeue', job], env=cluster)
    assert wait_for_the_end(cluster, job) == ['COMPLETED']

    log = next(tmp_path.glob('job-*.log')).read_text()
    assert 'Resumed' in log or 'resumed' in log, log[-3000:]
    assert final_state(requeued)['meta']['iter'] == steps
    assert_same_training_state(requeued, plain)


def test_a_job_array_trains_the_matrix(cluster, tmp_path, small_digits):
    out = tmp_path / 'matrix'
    data = [o for o in small_digits if o.startswith(('train_d', 'val_', 'test_'))]
    command = [
        sys.executable,
        str(TOOLS / 'pairing_matrix.py'),
        *('--heads', 'retinanet', 'fcos', '--steps', '2', '--out', str(out)),
        *('--shard', '"$SLURM_ARRAY_TASK_ID/2"', '--cfg-options', *data),
    ]
    job = submit(cluster, tmp_path, [' '.join(command)], '--array=1-2', '-N1', '-n1')
    assert wait_for_the_end(cluster, job) == ['COMPLETED', 'COMPLETED']
    rows = ''.join(p.read_text() for p in out.glob('results_*of2.csv'))
    assert 'retinanet' in rows, rows
    assert 'fcos' in rows, rows
    assert os.path.getsize(out / 'matrix.md') > 0
