"""Faults of one rank, and a pace, for trainings under launchers; imported by ``custom_imports``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from registry_losses.registry import HOOKS


@HOOKS.register_module()
class FaultHook(Hook):
    """Lets one rank kill itself (-9), raise or hang after a step, once.

    Args:
        marker: A file that is made first; where it is, nothing happens any more.
        what: 'kill', 'raise' or 'hang'.
        rank: Which rank.
        step: After this many steps, before anything is saved.
    """

    def __init__(self, marker: str, what: str = 'kill', rank: int = 1, step: int = 3) -> None:
        self.marker, self.what, self.rank, self.step = Path(marker), what, rank, step

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Do it."""
        if runner.rank != self.rank or runner.iter + 1 != self.step or self.marker.exists():
            return
        self.marker.write_text(repr(time.time()))
        if self.what == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == 'hang':
            time.sleep(3600)
        raise RuntimeError('a rank that raises')


@HOOKS.register_module()
class PaceHook(Hook):
    """Waits after each step, and leaves a file ``step_N`` in a folder.

    Args:
        folder: Where the files go.
        seconds: To wait.
    """

    def __init__(self, folder: str, seconds: float) -> None:
        self.folder, self.seconds = Path(folder), seconds

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Wait."""
        if runner.rank == 0:
            (self.folder / f'step_{runner.iter + 1}').touch()
        time.sleep(self.seconds)
