"""Keys that tie the randomness of a sample to (seed, epoch, sample index).

A sampler yields a :class:`SampleKey` instead of a bare index. The key travels to the
worker process with the index, so the epoch reaches persistent workers too, and no
worker, rank or resume changes what a sample's transforms draw.
"""

from __future__ import annotations

import numpy as np

# The last word of the entropy keeps the streams of different uses apart. It also has
# to be non-zero: SeedSequence pads with zeros, so (1, 2) and (1, 2, 0) are one stream.
PERMUTATION_STREAM = 1
SAMPLE_STREAM = 2
REFETCH_STREAM = 3
BATCH_STREAM = 4


def keyed_rng(*entropy: int, stream: int) -> np.random.Generator:
    """A NumPy generator whose state is a function of ``entropy`` and ``stream`` only.

    Args:
        *entropy: Integers; negative ones are taken modulo 2**32.
        stream: A positive tag of the use, one of the ``*_STREAM`` constants.

    Example:
        >>> a = keyed_rng(0, 1, 2, stream=SAMPLE_STREAM).random()
        >>> a == keyed_rng(0, 1, 2, stream=SAMPLE_STREAM).random()
        True
    """
    words = [int(e) if e >= 0 else int(e) % 2**32 for e in entropy]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([*words, stream])))


class SampleKey(int):
    """The index of a sample that remembers the seed and epoch it was drawn in.

    It is an ``int``, so any data set accepts it. Subtraction and modulo, which the
    concatenating and repeating data sets use to find the inner index, keep the key;
    ``origin`` stays the index the sampler drew, so two repeats of an image differ.

    Args:
        index: The index into the data set.
        seed: Seed of the run.
        epoch: Pass over the data set, from 0.
        origin: Index as drawn by the sampler. Defaults to ``index``.
    """

    seed: int
    epoch: int
    origin: int

    def __new__(
        cls, index: int, *, seed: int = 0, epoch: int = 0, origin: int | None = None
    ) -> SampleKey:
        """Make the integer and attach the key to it."""
        key = super().__new__(cls, index)
        key.seed = int(seed)
        key.epoch = int(epoch)
        key.origin = int(index if origin is None else origin)
        return key

    def rng(self, *, stream: int = SAMPLE_STREAM) -> np.random.Generator:
        """The generator of this sample in this epoch."""
        return keyed_rng(self.seed, self.epoch, self.origin, stream=stream)

    def at(self, index: int) -> SampleKey:
        """The same key pointing at another index."""
        return SampleKey(index, seed=self.seed, epoch=self.epoch, origin=self.origin)

    def __sub__(self, other: int) -> SampleKey:
        return self.at(int(self) - int(other))

    def __mod__(self, other: int) -> SampleKey:
        return self.at(int(self) % int(other))

    def __reduce__(self) -> tuple:
        return _rebuild, (int(self), self.seed, self.epoch, self.origin)

    def __repr__(self) -> str:
        return f'SampleKey({int(self)}, seed={self.seed}, epoch={self.epoch}, origin={self.origin})'


def _rebuild(index: int, seed: int, epoch: int, origin: int) -> SampleKey:
    return SampleKey(index, seed=seed, epoch=epoch, origin=origin)
