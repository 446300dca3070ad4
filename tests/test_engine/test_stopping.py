"""Signals, ranks that die, raise or hang: a training ends in time, and goes on exactly."""

import contextlib
import os
import shutil
import signal
import time

import pytest

from registry_losses.engine import load_checkpoint_file
from registry_losses.testing.training import (
    assert_same_training_state,
    final_state,
    weight_differences,
)

from .forked import output, start, train

# The draws of dropout depend on the rank; nothing else does.
EMA = "dict(type='EMAHook', momentum=0.1)"
GUARD = "dict(type='NonFiniteLossHook')"


def hooks(*more):
    return f'custom_hooks=[{", ".join((EMA, GUARD, *more))}]'


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """A function that returns the work directory of an uninterrupted run."""
    found = {}

    def run(processes=1, options=()):
        key = (processes, tuple(options))
        if key not in found:
            found[key] = tmp_path_factory.mktemp('whole')
            options = [hooks(), *options]
            assert set(train(found[key], options=options, processes=processes)) == {0}
        return found[key]

    return run


@pytest.mark.parametrize(
    ('number', 'code', 'word'),
    [
        (signal.SIGTERM, 143, 'Terminated'),
        pytest.param(signal.SIGINT, 130, 'Interrupted', marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_the_last_step_and_says_how_to_go_on(
    tmp_path, uninterrupted, number, code, word
):
    work_dir = tmp_path / 'run'
    hook = f"dict(type='SignalHook', number={int(number)}, marker='{tmp_path}/sent', iteration=8)"
    assert train(work_dir, options=[hooks(hook)]) == [code]
    text = output(work_dir)
    assert f'{word} after step 9, which is saved in' in text
    assert 'interrupted_iter_9.pth: the same command with --resume goes on' in text
    assert 'Traceback' not in text
    assert train(work_dir, '--resume', options=[hooks()]) == [0]
    assert_same_training_state(work_dir, uninterrupted())
    assert not list(work_dir.glob('interrupted_*')), 'a later state is safe'


@pytest.mark.slow
@pytest.mark.parametrize(('processes', 'dtype', 'step'), [(1, 'bfloat16', 8), (2, 'float16', 4)])
def test_with_workers_mixed_precision_and_gradients_that_wait(
    tmp_path, uninterrupted, processes, dtype, step
):
    """In the middle of an epoch and of an update, the averaged weights beside it."""
    options = [
        'train_dataloader.num_workers=1',
        'train_dataloader.persistent_workers=True',
        'optim_wrapper.type=AmpOptimWrapper',
        f'optim_wrapper.dtype={dtype}',
        'optim_wrapper.accumulative_counts=2',
    ]
    work_dir = tmp_path / 'run'
    hook = f"dict(type='SignalHook', number=15, marker='{tmp_path}/sent', iteration={step})"
    stopped = train(work_dir, options=[hooks(hook), *options], processes=processes)
    assert stopped == [143] * processes
    assert load_checkpoint_file(work_dir / f'interrupted_iter_{step + 1}.pth')['gradients']
    again = train(work_dir, '--resume', options=[hooks(), *options], processes=processes)
    assert again == [0] * processes
    whole = uninterrupted(processes, options=options)
    assert_same_training_state(work_dir, whole)
    if dtype == 'float16':
        assert final_state(whole)['optimizer']['loss_scaler']['scale'] > 1


@pytest.mark.slow
@pytest.mark.parametrize(('before', 'after'), [(2, 1), (1, 2), (2, 4)])
def test_another_number_of_ranks_goes_on_at_the_same_sample(tmp_path, uninterrupted, before, after):
    """Eight samples a step throughout, so that the weights are those of one process."""

    def options(processes):
        return [
            'model.dropout=0.0',
            f'train_dataloader.batch_size={8 // processes}',
            'default_hooks.checkpoint.by_epoch=False',
            'default_hooks.checkpoint.interval=4',  # epochs have three steps
            'default_hooks.checkpoint.max_keep_ckpts=-1',
        ]

    source, work_dir = uninterrupted(before, options=options(before)), tmp_path / 'run'
    work_dir.mkdir()
    shutil.copy(source / 'iter_4.pth', work_dir)
    words = dict(options=[hooks(), *options(after)], processes=after)
    assert train(work_dir, '--resume', **words) == [0] * after
    one, other = final_state(source), final_state(work_dir)
    assert one['meta']['iter'] == other['meta']['iter'] == 9
    for key in ('state_dict', 'ema_state_dict'):
        assert weight_differences(one[key], other[key], atol=1e-5) == [], key


def test_a_signal_in_a_validation(tmp_path, uninterrupted):
    """The model holds averaged weights then; the ones that are trained have to be saved."""
    work_dir = tmp_path / 'run'
    hook = f"dict(type='SignalHook', number=15, marker='{tmp_path}/sent', in_validation=True)"
    assert train(work_dir, options=[hooks(hook)]) == [143]
    assert (work_dir / 'interrupted_iter_6.pth').is_file()
    assert train(work_dir, '--resume', options=[hooks()]) == [0]
    assert_same_training_state(work_dir, uninterrupted())
    assert 'Epoch(val) [1]' in output(work_dir).split('resumed epoch')[1]


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_at_one_step(tmp_path, uninterrupted):
    work_dir = tmp_path / 'run'
    hook = f"dict(type='SignalHook', number=15, marker='{tmp_path}/sent', iteration=4, rank=1)"
    assert train(work_dir, options=[hooks(hook)], processes=2) == [143, 143]
    assert 'Terminated after step 5' in output(work_dir)
    assert set(train(work_dir, '--resume', options=[hooks()], processes=2)) == {0}
    assert_same_training_state(work_dir, uninterrupted(processes=2))


@pytest.mark.slow
@pytest.mark.parametrize(('how', 'limit'), [('raise', 20), ('SIGKILL', 20), ('SIGSTOP', 40)])
def test_a_rank_that_ends_or_hangs_does_not_leave_the_other(tmp_path, how, limit):
    """One that dies is noticed at once; one that hangs after the stated timeout."""
    hook = f"dict(type='FreezeHook', iteration=3, how='{how}')"
    options = [hooks(hook), 'env_cfg.dist_cfg.timeout=10']
    begin = time.monotonic()
    pids = start(tmp_path, options=options, processes=2)
    try:
        done = _wait_for(pids[0], limit)
    finally:
        _end(pids)
    assert done, f'rank 0 still waits after {time.monotonic() - begin:.0f} s'


def _wait_for(pid, limit):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.02)
    return False


def _end(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
