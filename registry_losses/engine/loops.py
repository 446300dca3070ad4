"""Training loops that go on exactly where a checkpoint was written.

Legend: W ranks, b samples a rank and step. A *position* is the number of steps taken
since the current pass over the data began.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.runner import BaseLoop
from mmengine.runner.utils import calc_dynamic_intervals
from torch.utils.data import BatchSampler, DataLoader

from ..errors import ConfigError
from ..registry import LOOPS
from .seeding import FETCH_STREAM, seed_step
from .stopping import Interrupted, StopSignals, leave_validation, save_and_stop, shield_workers


class _TrainLoop(BaseLoop):
    """What both loops share.

    Stands for MMEngine's loops, which resume at the start of an epoch only, or load all
    the data seen before once more.
    """

    _by_epoch = True

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        *,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: list[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(runner, dataloader)
        # Making an iterator draws a seed for the workers: not from the global generator, for a
        # resumed run makes one at another step.
        self.dataloader.generator = torch.Generator().manual_seed(runner.seed)
        shield_workers(self.dataloader)
        self._epoch = 0
        self._iter = 0
        self._pass_begin = 0  # the iteration at which the current pass over the data began
        self.val_begin = _whole_number('val_begin', val_begin)
        self.val_interval = _whole_number('val_interval', val_interval)
        self.stop_training = False  # set by EarlyStoppingHook
        self.dynamic_milestones, self.dynamic_intervals = calc_dynamic_intervals(
            val_interval, dynamic_intervals
        )
        metainfo = getattr(self.dataloader.dataset, 'metainfo', None)
        if metainfo is not None:
            runner.visualizer.dataset_meta = metainfo

    def run(self) -> torch.nn.Module:
        """Train."""
        self.runner.call_hook('before_train')
        with StopSignals() as self._signals:
            self._run()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _run(self) -> None:
        """Take the steps."""
        raise NotImplementedError

    @property
    def max_epochs(self) -> int:
        """Epochs to train for."""
        return self._max_epochs

    @property
    def max_iters(self) -> int:
        """Steps to train for."""
        return self._max_iters

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Steps finished."""
        return self._iter

    @property
    def samples_per_step(self) -> int:
        """Samples of one step over all ranks, W b."""
        return self._batch_size * get_world_size()

    @property
    def _batch_size(self) -> int:
        size = self.dataloader.batch_size
        return size if size is not None else getattr(self.dataloader.batch_sampler, 'batch_size', 1)

    def position(self, *, epoch: int, iteration: int) -> dict[str, int]:
        """Where the data stands in a checkpoint whose meta says ``epoch`` and ``iteration``."""
        batches = iteration - self._pass_begin if epoch == self._epoch else 0
        return dict(batches=batches, samples_per_step=self.samples_per_step)

    def restore_position(self, position: dict[str, int] | None) -> None:
        """Go on at ``position``, also where the number of samples a step has changed."""
        if position is None:  # a checkpoint of another framework: only the epoch is known
            self._pass_begin = self._iter if self._by_epoch else 0
            return
        batches = position['batches']
        if position['samples_per_step'] != self.samples_per_step:
            batches = round(batches * position['samples_per_step'] / self.samples_per_step)
            print_log(
                f'A step has {self.samples_per_step} samples now and had'
                f' {position["samples_per_step"]} in the checkpoint: the data goes on at the'
                ' same sample, but the run is not the same as an uninterrupted one.',
                'current',
                30,
            )
        self._pass_begin = self._iter - batches

    def _seek(self, batches: int) -> int:
        """Let the data loader begin ``batches`` steps later; return how many are left to skip."""
        sampler = self._sampler
        batch_sampler: Any = self.dataloader.batch_sampler
        if hasattr(batch_sampler, 'set_start'):
            batch_sampler.set_start(batches, self._batch_size)
            return 0
        if type(batch_sampler) is BatchSampler and hasattr(sampler, 'set_start'):
            sampler.set_start(batches, self._batch_size)
            return 0
        if batches:
            print_log(
                f'{type(sampler).__name__} cannot start in the middle: {batches} batches are'
                ' loaded once more. KeyedSampler can.',
                'current',
                30,
            )
        return batches

    @property
    def _sampler(self) -> Any:
        # With a batch sampler of its own a data loader's `sampler` is a placeholder.
        return getattr(self.dataloader.batch_sampler, 'sampler', self.dataloader.sampler)

    def _is_endless(self) -> bool:
        sampler = self._sampler
        return getattr(sampler, 'infinite', type(sampler).__name__ == 'InfiniteSampler')

    def _step(self, batches: Iterator[Any], index: int) -> bool:
        """Take one step with the next batch; False when there is none."""
        # Transforms that run in this process draw as well, so the model gets its own seed.
        seed_step(self.runner.seed, self._iter, rank=get_rank(), stream=FETCH_STREAM)
        try:
            data = next(batches)
        except StopIteration:
            return False
        seed_step(self.runner.seed, self._iter, rank=get_rank())
        self.runner.call_hook('before_train_iter', batch_idx=index, data_batch=data)
        outputs = self.runner.model.train_step(data, optim_wrapper=self.runner.optim_wrapper)
        self.runner.call_hook('after_train_iter', batch_idx=index, data_batch=data, outputs=outputs)
        self._iter += 1
        number = self._signals.agreed()
        if number is not None:
            self.runner.call_hook('before_checkpoint')
            save_and_stop(self.runner, number)
        return True

    def _validate(self, now: int, last: int) -> None:
        """Validate if it is time, and note that it was done."""
        step = int(np.searchsorted(self.dynamic_milestones, now + 1, side='right'))
        self.val_interval = self.dynamic_intervals[step - 1]
        hub = self.runner.message_hub
        due = now >= self.val_begin and (now % self.val_interval == 0 or now == last)
        if (
            self.runner.val_loop is None
            or not due
            or hub.get_info('latest_validation') == self._iter
        ):
            return
        # Noted before, so that the checkpoint which the validation itself writes says so.
        before = hub.get_info('latest_validation')
        hub.update_info('latest_validation', self._iter)
        try:
            self.runner.val_loop.run()
        except Interrupted as stop:
            hub.update_info('latest_validation', before)  # the resumed run validates first
            leave_validation(self.runner)
            save_and_stop(self.runner, stop.signal, together=False)
        self.runner.model.train()

    def stop_validation_if_asked(self) -> None:
        """Raise where a signal has come meanwhile; ranks need not agree, for none trains."""
        number = self._signals.received
        if number is not None:
            raise Interrupted(number)


@LOOPS.register_module()
class EpochBasedTrainLoop(_TrainLoop):
    """Train for a number of passes over the data.

    Args:
        runner: The runner.
        dataloader: The data loader or its config.
        max_epochs: Passes over the data.
        **options: In epochs: ``val_begin``, the first after which to validate;
            ``val_interval`` between validations, the last epoch is always validated;
            ``dynamic_intervals``, pairs of a milestone and the interval from there on.
    """

    def __init__(
        self, runner: Any, dataloader: DataLoader | dict, max_epochs: int, **options: Any
    ) -> None:
        super().__init__(runner, dataloader, **options)
        self._max_epochs = _whole_number('max_epochs', max_epochs)
        self._max_iters = self._max_epochs * len(self.dataloader)

    def _run(self) -> None:
        if self._epoch > 0 and self._pass_begin == self._iter:
            # Killed between the checkpoint of an epoch and the end of its validation.
            self._validate(self._epoch, self._max_epochs)
        while self._epoch < self._max_epochs and not self.stop_training:
            self._run_epoch()
            self._validate(self._epoch, self._max_epochs)

    def _run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._pass_begin
        length = len(self.dataloader)
        sampler = self._sampler
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(self._epoch)
        skip = self._seek(self._iter if self._is_endless() else done)
        batches = itertools.islice(iter(self.dataloader), skip, None)
        for index in range(done, length):
            if not self._step(batches, index):
                break
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self._pass_begin = self._iter


@LOOPS.register_module()
class IterBasedTrainLoop(_TrainLoop):
    """Train for a number of steps; the whole training counts as one epoch.

    Args:
        runner: The runner.
        dataloader: The data loader or its config.
        max_iters: Steps.
        val_interval: Steps between validations; the last step is always validated.
        **options: As of :class:`EpochBasedTrainLoop`, in steps.
    """

    _by_epoch = False
    _max_epochs = 1

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        max_iters: int,
        val_interval: int = 1000,
        **options: Any,
    ) -> None:
        super().__init__(runner, dataloader, val_interval=val_interval, **options)
        self._max_iters = _whole_number('max_iters', max_iters)

    def _run(self) -> None:
        self.runner.call_hook('before_train_epoch')
        if self._iter > 0:
            self._validate(self._iter, self._max_iters)
        batches = self._stream(self._iter - self._pass_begin)
        self.runner.model.train()
        while self._iter < self._max_iters and not self.stop_training:
            if not self._step(batches, self._iter):
                raise ConfigError('train_dataloader: the data set yields no batch')
            self._validate(self._iter, self._max_iters)
        self.runner.call_hook('after_train_epoch')

    def _stream(self, done: int) -> Iterator[Any]:
        """Batches without end, from the one after ``done``."""
        if self._is_endless():
            skip = self._seek(done)  # before the iterator: workers fetch as soon as it is made
            yield from itertools.islice(iter(self.dataloader), skip, None)
            return
        epoch, done = divmod(done, max(len(self.dataloader), 1))
        sampler = self._sampler
        while True:
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)
            skip, count = self._seek(done), 0
            for count, batch in enumerate(self.dataloader, 1):
                if count > skip:
                    yield batch
            if count == 0:
                return
            epoch, done = epoch + 1, 0


def _whole_number(name: str, value: Any) -> int:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 1 <= value < 2**63 or int(value) != value:
        raise ConfigError(f'train_cfg.{name}: expected a whole number of at least 1, got {value!r}')
    return int(value)
