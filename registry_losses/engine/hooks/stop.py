"""A validation stops between two batches where a signal asks for it."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from ...registry import HOOKS


@HOOKS.register_module()
class StopValidationHook(Hook):
    """Ends a validation within a training at the batch at which a signal comes.

    The training loop saves and ends then; see :mod:`registry_losses.engine.stopping`. The
    runner adds this hook by itself.
    """

    priority = 'LOWEST'

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Look."""
        loop: Any = getattr(runner, '_train_loop', None)
        if hasattr(loop, 'stop_validation_if_asked') and hasattr(loop, '_signals'):
            loop.stop_validation_if_asked()
