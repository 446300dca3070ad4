"""Samplers whose order is a function of (seed, epoch) and can start anywhere.

Legend: W ranks, b samples a rank and step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import BatchSampler, Sampler

from ..errors import ConfigError
from ..registry import DATA_SAMPLERS
from .keys import PERMUTATION_STREAM, SampleKey, keyed_rng


def epoch_permutation(size: int, *, seed: int, epoch: int, shuffle: bool = True) -> np.ndarray:
    """The order of ``size`` samples in one epoch, int64 ``(size,)``."""
    if not shuffle:
        return np.arange(size)
    return keyed_rng(seed, epoch, stream=PERMUTATION_STREAM).permutation(size)


@DATA_SAMPLERS.register_module()
class KeyedSampler(Sampler):
    """Yields :class:`SampleKey` in an order that only (seed, epoch) decide.

    Rank r takes the positions r, r + W, r + 2W ... of the global order. So step t of W
    ranks with b samples each holds the positions ``t W b`` to ``(t + 1) W b``: the
    global batch of one process with ``W b`` samples.

    Infinite by default: one permutation follows the next without a gap, so no batch is
    ever short, and the epoch of a sample is its position divided by the size. With
    ``infinite=False`` one pass is the epoch given by :meth:`set_epoch`, and the order is
    filled up from its own beginning until W divides it.

    A run that was stopped after ``t`` steps goes on exactly with ``set_start(t, b)``,
    without loading the samples before it.

    Args:
        dataset: The data set, for its length.
        shuffle: Permute, or take the samples in order.
        seed: Seed of the run, equal on all ranks. None: drawn once and shared.
        infinite: Never end (for loops that count iterations), or end after one pass.
        round_up: For ``infinite=False``: give every rank the same number of samples.

    Example:
        >>> sampler = KeyedSampler(range(4), shuffle=False, seed=0)
        >>> keys = iter(sampler)
        >>> [int(next(keys)) for _ in range(6)]
        [0, 1, 2, 3, 0, 1]
        >>> next(keys).epoch
        1
    """

    def __init__(
        self,
        dataset: Any,
        shuffle: bool = True,
        seed: int | None = None,
        *,
        infinite: bool = True,
        round_up: bool = True,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.size = len(dataset)
        if self.size == 0:
            raise ConfigError('KeyedSampler: expected a data set with samples, got an empty one')
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else int(seed)
        self.infinite = infinite
        self.round_up = round_up
        self.epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the pass that the next iteration yields (``infinite=False`` only)."""
        if epoch != self.epoch:
            self._start = 0
        self.epoch = int(epoch)

    def set_start(self, iteration: int, batch_size: int) -> None:
        """Let the next iteration begin where ``iteration`` steps have been taken.

        Args:
            iteration: Steps already taken: since the run began if infinite, else since
                the epoch given by :meth:`set_epoch` began.
            batch_size: Samples of one rank and step, b.

        A finite sampler starts there once; its next pass is a whole one. Worker
        processes fetch ahead, so call this before the data loader's iterator is made.
        """
        if iteration < 0 or batch_size < 1:
            raise ValueError(
                f'set_start: expected iteration >= 0 and batch_size >= 1, '
                f'got {iteration} and {batch_size}'
            )
        self._start = int(iteration) * int(batch_size) * self.world_size

    def __iter__(self) -> Iterator[SampleKey]:
        return self._infinite() if self.infinite else self._one_epoch()

    def _infinite(self) -> Iterator[SampleKey]:
        position, epoch, order = self._start + self.rank, -1, np.empty(0, np.int64)
        while True:
            current, offset = divmod(position, self.size)
            if current != epoch:
                epoch, order = current, self._order(current)
            yield SampleKey(int(order[offset]), seed=self.seed, epoch=epoch)
            position += self.world_size

    def _one_epoch(self) -> Iterator[SampleKey]:
        start, self._start = self._start, 0
        epoch, order = self.epoch, self._order(self.epoch)
        if self.round_up:
            order = np.resize(order, self.num_samples * self.world_size)
        for index in order[start + self.rank :: self.world_size].tolist():
            yield SampleKey(index, seed=self.seed, epoch=epoch)

    def _order(self, epoch: int) -> np.ndarray:
        return epoch_permutation(self.size, seed=self.seed, epoch=epoch, shuffle=self.shuffle)

    @property
    def num_samples(self) -> int:
        """Samples of this rank in one pass."""
        if self.infinite or self.round_up:
            return math.ceil(self.size / self.world_size)
        return math.ceil((self.size - self.rank) / self.world_size)

    def __len__(self) -> int:
        return self.num_samples


@DATA_SAMPLERS.register_module()
class AspectRatioBatchSampler(BatchSampler):
    """Batches of images that are all wide (w > h) or all not, so that padding is small.

    Indices wait in one of two groups; a group that is full becomes a batch. Which
    batch comes when depends on the order of the sampler alone.

    Args:
        sampler: Yields the indices of this rank. Its data set's ``get_data_info`` has to
            give ``width`` and ``height``.
        batch_size: Samples of one batch.
        drop_last: For a finite sampler: leave out what does not fill a batch at the end.
    """

    def __init__(
        self,
        sampler: KeyedSampler,
        batch_size: int,
        drop_last: bool = False,
    ) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.keyed = sampler
        self._start = 0
        # -1 not looked up yet, 0 tall or square, 1 wide
        self._wide = np.full(len(sampler.dataset), -1, np.int8)

    def set_start(self, iteration: int, batch_size: int) -> None:
        """Let the next iteration begin after ``iteration`` batches.

        The groups are filled again from the beginning, from the widths and heights: no
        image is loaded.
        """
        if batch_size != self.batch_size:
            raise ValueError(f'batch_size: expected {self.batch_size}, got {batch_size}')
        self._start = int(iteration)

    def __iter__(self) -> Iterator[list[int]]:
        start, self._start = self._start, 0
        return itertools.islice(self._batches(), start, None)

    def _batches(self) -> Iterator[list[int]]:
        groups: tuple[list[int], list[int]] = ([], [])
        for index in self.sampler:
            group = groups[self._is_wide(index)]
            group.append(index)
            if len(group) == self.batch_size:
                yield list(group)
                group.clear()
        rest = groups[0] + groups[1]
        for begin in range(0, len(rest), self.batch_size):
            batch = rest[begin : begin + self.batch_size]
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def _is_wide(self, index: int) -> int:
        if self._wide[index] < 0:
            info = self.keyed.dataset.get_data_info(int(index))
            self._wide[index] = info['width'] > info['height']
        return int(self._wide[index])

    def __len__(self) -> int:
        if self.drop_last:
            return len(self.keyed) // self.batch_size
        return math.ceil(len(self.keyed) / self.batch_size)
