"""Training under Open MPI's ``mpirun``."""

import shutil
import sys
import time

import pytest

from .runs import TRAIN, assert_same_weights, call, hooks, train_words

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which('mpirun') is None, reason='no mpirun (apt-get install openmpi-bin)'
    ),
]
MPIRUN = ('mpirun', '--allow-run-as-root', '--oversubscribe')


@pytest.mark.parametrize('processes', [2, 4])
def test_mpirun_gives_the_weights_of_one_process(processes, tmp_path, small_digits, one_process):
    words = train_words(tmp_path, small_digits, processes=processes, more=['--launcher', 'mpi'])
    call([*MPIRUN, '-np', processes, sys.executable, TRAIN, *words])
    assert_same_weights(tmp_path, one_process)


@pytest.mark.parametrize('fault', ['kill', 'raise'])
def test_a_rank_that_dies_or_raises_ends_the_job(fault, tmp_path, small_digits):
    marker = tmp_path / 'marker'
    node = f"dict(type='FaultHook', marker='{marker}', what='{fault}')"
    work = [*small_digits, *hooks(node)]
    words = train_words(tmp_path / 'run', work, processes=2, more=['--launcher', 'mpi'])
    done = call([*MPIRUN, '-np', 2, sys.executable, TRAIN, *words], check=False)
    waited = time.time() - float(marker.read_text())
    assert done.returncode != 0
    assert waited < 30, f'{waited:.0f} s from the fault to the end of the job'
