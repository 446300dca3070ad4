"""A live progress bar where there is a terminal, the plain log elsewhere."""

from __future__ import annotations

import atexit
import logging
import sys
from datetime import timedelta
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from ...registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows the progress of training, validation and testing in a terminal.

    One bar counts the steps of the whole training, with the smoothed loss and the time left,
    which is the log's ``eta``; a second one appears while a validation runs. Log lines go on
    above the bars.
    Where the output is no terminal (a file, a batch system) there is no bar: the log's lines
    with their ``eta`` stay. In both, the log says once, in the first minute, how long a step
    takes and the training will.

    Args:
        enabled: True or False to decide; None: only when stdout is a terminal.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self, enabled: bool | None = None) -> None:
        self.enabled = enabled
        self._begin, self._announced = 0, False
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._streams: list[tuple[logging.StreamHandler, Any]] = []

    def before_train(self, runner: Any) -> None:
        """Show the bar of the training, at the step of a resume."""
        self._begin, self._announced = runner.iter, False
        self._open(runner)
        self._start('train', runner.max_iters, completed=runner.iter)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Move the bar; soon after the start, say how long it will take."""
        self._announce(runner)
        if self._progress is None:
            return
        loss = runner.message_hub.log_scalars.get('train/loss')
        note = '' if loss is None else f'loss {loss.mean(50):.3f}'
        fields: dict[str, Any] = dict(note=note, left=f'left {_left(runner)}')
        self._progress.update(self._tasks['train'], completed=runner.iter + 1, **fields)

    def _announce(self, runner: Any) -> None:
        """Once, when the pace is known: after 20 steps, or 45 seconds of slow ones."""
        times = runner.message_hub.log_scalars.get('train/time')
        if self._announced or times is None:
            return
        done = runner.iter + 1 - self._begin
        # The first steps warm caches and choose algorithms.
        pace = times.mean(max(done - 3, 1))
        if done >= 20 or (done >= 3 and times.mean(done) * done >= 45):
            self._announced = True
            rest = runner.max_iters - runner.iter - 1
            if rest > 0 and is_main_process():
                runner.logger.info(
                    f'{pace:.3f} s a step: the {rest:,} steps to come take about '
                    f'{_duration(pace * rest)}, validations not counted'
                )

    def after_train(self, runner: Any) -> None:
        """Leave the finished bar standing."""
        self._close()

    def _before_epoch(self, runner: Any, mode: str = 'train') -> None:
        if mode != 'train':
            self._open(runner)
            loop = runner.val_loop if mode == 'val' else runner.test_loop
            self._start(mode, len(loop.dataloader))

    def _after_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = 'train',
    ) -> None:
        if self._progress is not None and mode in self._tasks:
            self._progress.update(self._tasks[mode], completed=batch_idx + 1)

    def _after_epoch(self, runner: Any, mode: str = 'train') -> None:
        if self._progress is None or mode == 'train':
            return
        self._progress.remove_task(self._tasks.pop(mode))
        if 'train' not in self._tasks:
            self._close()

    def after_run(self, runner: Any) -> None:
        """Give the terminal back."""
        self._close()

    def _open(self, runner: Any) -> None:
        shown = sys.stdout.isatty() if self.enabled is None else self.enabled
        if self._progress is not None or not shown or not is_main_process():
            return
        self._progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn('{task.fields[left]}'),
            TextColumn('{task.fields[note]}'),
            console=Console(force_terminal=True),
            refresh_per_second=4,
        )
        self._progress.start()
        atexit.register(self._close)  # a run that raises leaves the cursor hidden otherwise
        # Log handlers hold the stdout of before; their lines would tear the bar apart.
        for handler in runner.logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(
                handler, logging.FileHandler
            ):
                self._streams.append((handler, handler.setStream(sys.stdout)))

    def _start(self, name: str, total: int, completed: int = 0) -> None:
        if self._progress is not None:
            task = self._progress.add_task(name, total=total, completed=completed, note='', left='')
            self._tasks[name] = task

    def _close(self) -> None:
        if self._progress is None:
            return
        self._progress.stop()
        for handler, stream in self._streams:
            handler.setStream(stream or sys.stdout)
        self._progress, self._tasks, self._streams = None, {}, []


def _left(runner: Any) -> str:
    """The time left, as the log has it."""
    hub = runner.message_hub
    eta = hub.get_info('eta') if 'eta' in hub.runtime_info else None
    return '' if eta is None else str(timedelta(seconds=int(eta)))


def _duration(seconds: float) -> str:
    """Seconds, minutes or hours in words."""
    if seconds < 100:
        return f'{seconds:.0f} s'
    if seconds < 100 * 60:
        return f'{seconds / 60:.0f} min'
    return f'{seconds / 3600:.1f} h'
