"""Randomness without a generator: hashes keyed by (seed, step, image id) and prior.

The same key gives the same numbers on every device, rank and resume, whatever the
batch. 32 bit integers throughout; their products wrap.
"""

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
# Multipliers and shifts of the "lowbias32" integer hash (Wellons, Prospecting for Hash
# Functions, 2018), which is a bijection.
_ROUNDS = ((16, 0x7FEB352D), (15, 0x846CA68B))
_LAST_SHIFT = 16


def _signed(value: int) -> int:
    """The 32 bit integer with these bits."""
    value &= _MASK
    return value - (1 << 32) if value >> 31 else value


def mix_int(value: int) -> int:
    """A bijection of [0, 2^32) that looks random."""
    for shift, factor in _ROUNDS:
        value ^= value >> shift
        value = value * factor & _MASK
    return value ^ value >> _LAST_SHIFT


def mix_(values: Tensor) -> Tensor:
    """:func:`mix_int` of an int32 tensor, in place."""
    for shift, factor in _ROUNDS:
        # Shifts of signed integers drag the sign along: it is masked away.
        values ^= (values >> shift) & (_MASK >> shift)
        values *= _signed(factor)
    values ^= (values >> _LAST_SHIFT) & (_MASK >> _LAST_SHIFT)
    return values


def image_keys(seed: int, step: int, image_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Two ``(B,)`` int32 keys per image.

    Args:
        seed: Of the sampler.
        step: Of the training.
        image_ids: ``(B,)`` int64.
    """
    base = 0
    for word in (seed, seed >> 32, step, step >> 32):
        base = mix_int(base ^ (word & _MASK))
    low = mix_(image_ids.to(torch.int32) ^ _signed(base))
    first = mix_((image_ids >> 32).to(torch.int32) ^ low)
    second = mix_(first ^ _signed(0x9E3779B9))
    return first, second


def prior_hashes(keys: tuple[Tensor, Tensor], num_flat: int) -> Tensor:
    """``(B, N)`` int32, distinct within an image: a random order of its priors."""
    first, second = keys
    prior_index = torch.arange(num_flat, dtype=torch.int32, device=first.device)
    return _hash(prior_index[None] ^ first[:, None], second[:, None])


def hashes_at(keys: tuple[Tensor, Tensor], image: Tensor, flat_index: Tensor) -> Tensor:
    """``(K,)`` int32, :func:`prior_hashes` at these priors."""
    first, second = keys
    return _hash(flat_index.to(torch.int32) ^ first[image], second[image])


def _hash(values: Tensor, second: Tensor) -> Tensor:
    mixed = mix_(values)
    mixed += second
    return mix_(mixed)
