"""Sums over the processes of a distributed training."""

from collections.abc import Sequence

import torch
from mmengine import dist
from torch import Tensor


def sum_over_ranks(values: Sequence[Tensor]) -> list[Tensor]:
    """Every tensor summed over all ranks, all in one message; float32, detached.

    Every rank has to call it at the same point with tensors of the same shapes. In one
    process the values come back as they are.

    Args:
        values: Any shapes, one device.
    """
    if dist.get_world_size() == 1 or not values:
        return list(values)
    flat = torch.cat([value.detach().reshape(-1).float() for value in values])
    dist.all_reduce(flat, op='sum')
    parts = flat.split([value.numel() for value in values])
    return [part.reshape(value.shape) for part, value in zip(parts, values)]
