"""Biases that begin with a high rate while everything else begins with a low one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ...errors import ConfigError
from ...registry import HOOKS


@HOOKS.register_module()
class BiasWarmupHook(Hook):
    """Moves the rate of all biases on a line from ``start_lr`` to what they were given.

    A detector's last biases say how rare objects are; they have far to go, and may go
    fast. In step t of the first ``num_iters`` a bias has the rate ``start_lr + t /
    num_iters (initial - start_lr)``; after them, the scheduler's. The scheduler itself sees
    nothing of it: before it steps, its rates are put back.

    Needs parameter groups that hold biases alone, as any ``paramwise_cfg`` gives them.

    Args:
        num_iters: Steps of the warm-up.
        start_lr: Rate of the first step.

    Raises:
        ConfigError: If an option is out of range, or biases share a group with weights.

    Source: Jocher et al., YOLOv5, ``train.py`` (``warmup_bias_lr``; there is no paper).
    """

    # Before ParamSchedulerHook (LOW), which steps from the rates that it finds.
    priority = 'NORMAL'

    def __init__(self, num_iters: int, start_lr: float = 0.1) -> None:
        if num_iters < 1 or start_lr <= 0:
            raise ConfigError(
                'BiasWarmupHook: expected num_iters of at least 1 and start_lr above 0, got '
                f'{num_iters} and {start_lr}'
            )
        self.num_iters = num_iters
        self.start_lr = start_lr
        self._groups: list[dict] = []
        self._kept: list[float] = []

    def before_train(self, runner: Any) -> None:
        """Find the groups of the biases."""
        self._groups, self._kept = list(_bias_groups(runner)), []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the rates of this step."""
        if runner.iter >= self.num_iters:
            return
        share = runner.iter / self.num_iters
        self._kept = [group['lr'] for group in self._groups]
        for group in self._groups:
            final = group.get('initial_lr', group['lr'])
            group['lr'] = self.start_lr + share * (final - self.start_lr)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Put the scheduler's rates back."""
        for group, rate in zip(self._groups, self._kept):
            group['lr'] = rate
        self._kept = []


def _bias_groups(runner: Any) -> Iterator[dict]:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    biases = {id(p) for name, p in model.named_parameters() if name.rpartition('.')[2] == 'bias'}
    for group in runner.optim_wrapper.param_groups:
        members = [id(p) in biases for p in group['params']]
        if any(members) and not all(members):
            raise ConfigError(
                'BiasWarmupHook: biases and weights share a parameter group; add '
                'optim_wrapper.paramwise_cfg=dict(bias_decay_mult=0.0), or leave the hook out'
            )
        if members and all(members):
            yield group
