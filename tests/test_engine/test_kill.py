"""kill -9 at 25 random moments: the next start goes on, and ends bit for bit as if nothing was.

`make test-kill` runs it. Moments are drawn over the whole run; some fall, on purpose, into
the middle of writing a checkpoint. With two processes one of them is killed, drawn as well;
the other has to end by itself.
"""

import os
import random
import signal
import time

import pytest

from registry_losses.engine import checkpoint
from registry_losses.testing.training import final_state, weight_differences

from .forked import start, train, wait

KILLS = {1: 15, 2: 10}
OPTIONS = [
    "custom_hooks=[dict(type='EMAHook', momentum=0.1), dict(type='NonFiniteLossHook')]",
    'default_hooks.checkpoint.by_epoch=False',
    'default_hooks.checkpoint.interval=2',
    'train_cfg.max_epochs=8',
    'optim_wrapper.accumulative_counts=2',
]
pytestmark = [pytest.mark.slow, pytest.mark.kill]


def die_while_writing(number: int):
    """Makes this process kill itself with half of its ``number``-th file on the disk."""

    def arm() -> None:
        real, seen = os.replace, []

        def replace(source, target) -> None:
            if str(target).endswith('.pth'):
                seen.append(target)
                if len(seen) == number:
                    with open(source, 'r+b') as file:
                        file.truncate(os.path.getsize(source) // 2)
                    os.kill(os.getpid(), signal.SIGKILL)
            real(source, target)

        checkpoint.os.replace = replace

    return arm


def when_it_trains(work_dir) -> float:
    """Wait until the first step is about to be taken; when that was."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        path = work_dir / 'output0.txt'
        if path.is_file() and 'Checkpoints will be saved' in path.read_text():
            return time.monotonic()
        time.sleep(0.01)
    raise AssertionError(f'{work_dir}: does not start')


def assert_same_weights(work_dir, other) -> None:
    """Weights, their averages and the optimizer's state, bit for bit.

    Of the last step there may be one checkpoint from before and one from after the last
    validation, which differ in what counts epochs.
    """
    a, b = final_state(work_dir), final_state(other)
    assert a['meta']['iter'] == b['meta']['iter'] == 48 // len(list(work_dir.glob('output*.txt')))
    for key in ('state_dict', 'ema_state_dict'):
        assert weight_differences(a[key], b[key]) == [], key
    for name, state in a['optimizer']['state'].items():
        assert weight_differences(state, b['optimizer']['state'][name]) == []


@pytest.mark.parametrize('processes', [1, 2])
def test_kill_9(tmp_path, processes):
    rng = random.Random(processes)
    whole = tmp_path / 'whole'
    pids = start(whole, options=OPTIONS, processes=processes)
    begin = when_it_trains(whole)
    assert set(wait(pids, timeout=200)) == {0}
    length = time.monotonic() - begin
    resumed = writing = 0
    for number in range(KILLS[processes]):
        work_dir = tmp_path / f'run{number}'
        if number % 3 == 2:
            arm = die_while_writing(rng.randint(1, 14))
            pids = start(work_dir, options=OPTIONS, processes=processes, before=arm)
            writing += 1
        else:
            pids = start(work_dir, options=OPTIONS, processes=processes)
            when_it_trains(work_dir)
            time.sleep(rng.random() * length)
            os.kill(rng.choice(pids), signal.SIGKILL)
        codes = wait(pids, timeout=120)
        assert codes != [0] * processes or not list(work_dir.glob('.*.tmp'))
        resumed += any(work_dir.glob('iter_*.pth'))
        assert set(
            train(work_dir, '--resume', options=OPTIONS, processes=processes, timeout=200)
        ) == {0}
        assert_same_weights(whole, work_dir)
        assert not list(work_dir.glob('.*.tmp'))
    print(
        f'{KILLS[processes]} kills of a training in {processes} process(es), {writing} while'
        f' writing; {resumed} starts went on from a checkpoint; all ended bit for bit the same'
    )
