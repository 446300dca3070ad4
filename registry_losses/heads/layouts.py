"""How the raw maps of a head are laid out, and their flat branches.

Shapes: B images, N priors, A priors a cell, D values a prior, H, W map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..structures import flatten_maps

Maps = Sequence[Sequence[Tensor]]


class Layout(Protocol):
    """Turns raw maps into flat branches."""

    def __call__(self, maps: Maps, num_base: Sequence[int]) -> dict[str, Tensor]:
        """Branches ``(B, N, D)``, by name.

        Args:
            maps: As the head's ``forward`` returns them.
            num_base: A of each level.
        """
        ...


@dataclass(frozen=True)
class SeparateMaps:
    """One map a branch, ``(B, A D, H, W)`` a level: most heads.

    Args:
        channels: D of each branch, in the order of the maps.
    """

    channels: Mapping[str, int]

    def __call__(self, maps: Maps, num_base: Sequence[int]) -> dict[str, Tensor]:
        """See :class:`Layout`."""
        return {
            name: flatten_maps(level_maps, num_base, width)
            for (name, width), level_maps in zip(self.channels.items(), maps)
        }


@dataclass(frozen=True)
class SplitBoxMaps:
    """:class:`SeparateMaps` whose boxes come in parts: CenterNet's offset and size.

    Args:
        channels: D of each branch, in the order of the maps.
        parts: Branches that side by side are ``bbox``.
    """

    channels: Mapping[str, int]
    parts: tuple[str, ...]

    def __call__(self, maps: Maps, num_base: Sequence[int]) -> dict[str, Tensor]:
        """See :class:`Layout`."""
        branches = SeparateMaps(self.channels)(maps, num_base)
        bbox = torch.cat([branches.pop(name) for name in self.parts], dim=-1)
        return {**branches, 'bbox': bbox}


@dataclass(frozen=True)
class OneMap:
    """All values of a prior side by side in one map, as in YOLOv3 and YOLOv5.

    Args:
        channels: D of each branch, in their order within a prior.
    """

    channels: Mapping[str, int]

    def __call__(self, maps: Maps, num_base: Sequence[int]) -> dict[str, Tensor]:
        """See :class:`Layout`."""
        flat = flatten_maps(maps[0], num_base, sum(self.channels.values()))
        return dict(zip(self.channels, flat.split(tuple(self.channels.values()), dim=-1)))


@dataclass(frozen=True)
class SharedClassMap:
    """One map whose priors share a class vector a cell, as in YOLOv1.

    The boxes of all priors come first, then their objectness, then the classes.

    Args:
        bbox: Values of a prior's box.
        objectness: Values of a prior's objectness.
        cls: Values of a cell's class vector.
    """

    bbox: int
    objectness: int
    cls: int

    def __call__(self, maps: Maps, num_base: Sequence[int]) -> dict[str, Tensor]:
        """See :class:`Layout`."""
        a = num_base[0]
        widths = (a * self.bbox, a * self.objectness, self.cls)
        bbox, objectness, cls = maps[0][0].split(widths, dim=1)
        return {
            'bbox': flatten_maps([bbox], a, self.bbox),
            'objectness': flatten_maps([objectness], a, self.objectness),
            'cls': flatten_maps([cls], 1, self.cls),
        }
