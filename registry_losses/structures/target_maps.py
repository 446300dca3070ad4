"""Class targets held as maps: where Gaussians cover much of a grid, a map is the short form.

A map holds the same targets as a list of entries; the list is worked out when someone
asks for it.

Shapes: B images, N priors, R class rows, C classes, E entries, K positives.
"""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from .class_targets import ClassTargets


class MapTargets(ClassTargets):
    """:class:`ClassTargets` as a map.

    Args:
        map: ``(R, C)`` float32, 0 where there is no entry and in ignored rows.
        positive_place: ``(K,)`` int64, ``row * C + class`` of the positives.
        ignored: ``(R,)`` bool.
    """

    def __init__(self, map: Tensor, positive_place: Tensor, ignored: Tensor) -> None:
        for name, value in (
            ('map', map),
            ('positive_place', positive_place),
            ('ignored', ignored),
            ('num_classes', map.shape[1]),
        ):
            object.__setattr__(self, name, value)

    map: Tensor
    positive_place: Tensor

    @cached_property
    def _place(self) -> tuple[Tensor, Tensor]:
        rows, classes = self.map.nonzero(as_tuple=True)
        return rows, classes

    @property
    def rows(self) -> Tensor:  # type: ignore[override]
        """``(E,)`` int64."""
        return self._place[0]

    @property
    def classes(self) -> Tensor:  # type: ignore[override]
        """``(E,)`` int64."""
        return self._place[1]

    @cached_property
    def values(self) -> Tensor:  # type: ignore[override]
        """``(E,)`` float32."""
        return self.map[self._place]

    @cached_property
    def positive(self) -> Tensor:  # type: ignore[override]
        """``(E,)`` bool."""
        flags = torch.zeros(self.map.numel(), dtype=torch.bool, device=self.map.device)
        flags[self.positive_place] = True
        return flags[self.rows * self.num_classes + self.classes]

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """``(R, C)``, the map itself: not to be changed."""
        return self.map.to(dtype)

    def any_class(self) -> 'MapTargets':
        """The largest target of all classes, as the only class."""
        rows = torch.div(self.positive_place, self.num_classes, rounding_mode='floor')
        return MapTargets(self.map.amax(dim=1, keepdim=True), rows, self.ignored)


def with_positives(
    soft: Tensor, rows: Tensor, labels: Tensor, values: Tensor, ignored: Tensor, num_classes: int
) -> MapTargets:
    """The map of soft values with the positives put in.

    A positive wins over a soft value, the largest of several positives over the others;
    ignored rows are 0.

    Args:
        soft: ``(B, N, C')``, C' at most C.
        rows: ``(K,)`` class row of each positive.
        labels: ``(K,)``.
        values: ``(K,)`` float32.
        ignored: ``(R,)`` bool.
        num_classes: C.
    """
    dense = soft.flatten(0, 1)
    if soft.shape[-1] < num_classes:
        dense = F.pad(dense, (0, num_classes - soft.shape[-1]))
    else:
        dense = dense.clone()
    place = rows * num_classes + labels
    flat = dense.view(-1)
    flat[place] = 0
    flat.scatter_reduce_(0, place, values.to(dense.dtype), 'amax')
    # A pass over the map, which is dear on a CPU; elsewhere it is looking that is.
    if not ignored.is_cpu or bool(ignored.any()):
        dense.masked_fill_(ignored[:, None], 0)
    return MapTargets(dense, place, ignored)
