"""Threads: what the environment says, what a container may use, what others leave."""

import math
import os

import pytest

from registry_losses.engine import threads
from registry_losses.engine.threads import cgroup_cores, choose_threads


@pytest.mark.parametrize(
    ('env', 'cores', 'quota', 'load', 'count', 'reason'),
    [
        ({'OMP_NUM_THREADS': '3'}, 8, math.inf, 8.0, 3, 'OMP_NUM_THREADS'),
        ({'OMP_NUM_THREADS': '3,2'}, 8, math.inf, 8.0, 3, 'OMP_NUM_THREADS'),
        ({}, 8, math.inf, 0.2, 8, 'of 8 usable cores'),
        ({}, 64, 2.0, 1.0, 2, 'of 2 usable cores'),
        ({}, 64, 0.5, 0.0, 1, 'of 1 usable cores'),
        ({}, 8, math.inf, 6.1, 2, '6 of 8 cores busy'),
        ({}, 2, math.inf, 9.0, 1, '2 of 2 cores busy'),
        ({'LOCAL_WORLD_SIZE': '4'}, 8, math.inf, 0.0, 2, 'shared by 4 processes'),
        ({'LOCAL_WORLD_SIZE': '16'}, 8, math.inf, 0.0, 1, 'shared by 16'),
        ({'OMP_NUM_THREADS': ''}, 4, math.inf, 0.0, 4, 'of 4'),
    ],
)
def test_choice(env, cores, quota, load, count, reason):
    found = choose_threads(env, cores=cores, quota=quota, load=load)
    assert found.count == count
    assert reason in str(found)


@pytest.mark.parametrize('now, busy', [(0.0, 0.0), (1.0, 1.5)])
def test_what_has_ended_counts_no_more(monkeypatch, tmp_path, now, busy):
    """The last minute's load is 1.5; the cores' times say what is busy while it is looked at."""
    stat = tmp_path / 'stat'
    stat.write_text('cpu 100 0 0 900 0 0 0 0\n')
    cores = os.cpu_count()

    def later(seconds):
        stat.write_text(f'cpu {100 + int(100 * now)} 0 0 {900 + int(100 * (1 - now))} 0 0 0 0\n')

    monkeypatch.setattr(os, 'getloadavg', lambda: (1.5, 1.5, 1.5))
    monkeypatch.setattr(threads.time, 'sleep', later)
    assert threads.busy_cores(stat=stat) == pytest.approx(min(busy, cores))
    assert threads.busy_cores(stat=tmp_path / 'none') == 1.5


def test_cgroups(tmp_path):
    assert cgroup_cores(tmp_path, '') == math.inf
    (tmp_path / 'a' / 'b').mkdir(parents=True)
    (tmp_path / 'a' / 'cpu.max').write_text('150000 100000\n')
    (tmp_path / 'a' / 'b' / 'cpu.max').write_text('max 100000\n')
    assert cgroup_cores(tmp_path, '0::/a/b\n') == 1.5, 'the nearest limit above counts'
    (tmp_path / 'cpu').mkdir()
    (tmp_path / 'cpu' / 'cpu.cfs_quota_us').write_text('50000\n')
    (tmp_path / 'cpu' / 'cpu.cfs_period_us').write_text('100000\n')
    assert cgroup_cores(tmp_path, '4:cpu:/\n') == 0.5


def test_a_run_says_what_was_chosen_and_keeps_it_when_resumed(tmp_path, toy_runner, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setattr(threads, '_chosen', None)
    runner = toy_runner(tmp_path, **{'train_cfg.max_epochs': 1})
    runner.train()
    assert '1 thread (OMP_NUM_THREADS)' in next(tmp_path.glob('*/*.log')).read_text()
