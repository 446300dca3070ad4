"""Ctrl-C and SIGTERM end a training after its current step, with everything saved.

A batch system sends SIGTERM some time before it kills (Slurm's ``KillWait`` and
``GraceTime``, torchrun's 30 seconds). The step that runs is finished, its state is written,
and the process ends with the usual code: 130 after Ctrl-C, 143 after SIGTERM. A second
signal ends it at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, EMAHook
from torch import distributed as torch_dist
from torch.utils.data import DataLoader

from .distributed import group_timeout
from .gradients import gather_gradients

INTERRUPTED = 'interrupted_iter_{}.pth'


class Interrupted(KeyboardInterrupt):
    """A training that a signal ended, after its state was saved.

    Attributes:
        signal: The number of the signal.
    """

    def __init__(self, signal: int, message: str = '') -> None:
        super().__init__(message)
        self.signal = signal


class StopSignals:
    """While active, notes SIGINT and SIGTERM in place of dying.

    Use it as a context. Elsewhere than in the main thread, where Python takes no signal
    handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._group: Any = None

    def __enter__(self) -> StopSignals:
        self.received = None
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        if get_world_size() > 1 and self._group is None:
            # Of the hosts, whatever trains.
            self._group = torch_dist.new_group(backend='gloo', timeout=group_timeout())
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:  # once more: now
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.received = number

    def agreed(self) -> int | None:
        """The signal that any rank has received; every rank has to call this at the same step.

        On several ranks a number goes round, a tenth of a millisecond on one machine.
        """
        if get_world_size() == 1 or self._group is None:
            return self.received
        number = torch.tensor([self.received or 0])
        torch_dist.all_reduce(number, torch_dist.ReduceOp.MAX, group=self._group)
        self.received = int(number) or None
        return self.received


def save_and_stop(runner: Any, number: int, *, together: bool = True) -> None:
    """Save the state after the last finished step, and raise.

    Args:
        runner: The runner.
        number: The signal.
        together: Whether all ranks are here, so that gradients which wait for their update
            can be gathered from them.

    Raises:
        Interrupted: Always; its message says how to go on.
    """
    loop = runner.train_loop
    name = INTERRUPTED.format(loop.iter)
    hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    folder = getattr(hook, 'out_dir', None) or runner.work_dir
    if hasattr(hook, 'gradients') and (together or get_world_size() == 1):
        hook.gradients = gather_gradients(runner)  # type: ignore[union-attr]
    runner.save_checkpoint(
        folder,
        name,
        by_epoch=False,
        meta=dict(epoch=loop.epoch, iter=loop.iter),
        backend_args=getattr(hook, 'backend_args', None),
    )
    told = {int(signal.SIGINT): 'Interrupted', int(signal.SIGTERM): 'Terminated'}[number]
    raise Interrupted(
        number,
        f'{told} after step {loop.iter}, which is saved in {Path(folder) / name}: the same command'
        ' with --resume goes on from there.'
        if is_main_process()
        else '',
    )


def leave_validation(runner: Any) -> None:
    """Undo what hooks do to the model for a validation that was cut short."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            hook.after_val_epoch(runner)  # the averaged weights leave the model
    runner.model.train()


def remove_interrupted(folder: str | Path, iteration: int) -> None:
    """Delete what signals left in ``folder``, now that a later state is safe."""
    before = INTERRUPTED.format('*')
    for path in Path(folder).glob(before):
        number = path.stem.rpartition('_')[2]
        if number.isdigit() and int(number) <= iteration:
            path.unlink(missing_ok=True)


def shield_workers(loader: DataLoader) -> None:
    """Let the workers of a data loader outlive a signal to the whole job.

    Ctrl-C and batch systems signal every process; a worker that died would break the step
    that is to be finished. Workers end with the process that started them.
    """
    if loader.num_workers > 0:
        loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)


def _start_worker(then: Callable[[int], None] | None, number: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if then is not None:
        then(number)
