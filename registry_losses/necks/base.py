"""What the necks share: checked inputs and upsampling to the size of the finer map."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from registry_losses.errors import ShapeError


def check_levels(neck: str, inputs: Sequence[Tensor], in_channels: Sequence[int]) -> None:
    """Raise :class:`ShapeError` unless there are as many maps, as wide, as configured."""
    got = [x.shape[1] for x in inputs]
    if got != list(in_channels):
        raise ShapeError(
            f'{neck}: expected maps with in_channels={list(in_channels)} channels, got {got}; '
            "set in_channels to the widths of the backbone's outputs"
        )


def upsample_like(coarse: Tensor, fine: Tensor) -> Tensor:
    """Nearest-neighbour upsampling of ``coarse`` to the height and width of ``fine``.

    Equal to a factor of 2 where the sizes are; with odd sizes, where a factor of 2 would
    overshoot, the maps still fit.
    """
    return F.interpolate(coarse, size=fine.shape[-2:], mode='nearest')
