"""HeadOutput: a head's raw maps, flattened.

Shapes: B images, S stages, N priors, D values per prior.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..errors import ShapeError


@dataclass(frozen=True, eq=False)
class Branch:
    """One kind of output.

    Args:
        data: ``(B, n, D)``, or ``(S, B, n, D)`` where the head has stages. n is N, or
            the priors of ``levels`` only, or the number of class rows.
        levels: The levels the branch exists on; None for all.
    """

    data: Tensor
    levels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.data.dim() not in (3, 4):
            shape = tuple(self.data.shape)
            raise ShapeError(f'branch: expected (B, n, D) or (S, B, n, D), got {shape}')

    @property
    def staged(self) -> bool:
        """Whether there is a stage axis."""
        return self.data.dim() == 4

    def stages(self) -> tuple[Tensor, ...]:
        """The ``(B, n, D)`` tensor of each stage; one for a branch without stages."""
        return self.data.unbind(0) if self.staged else (self.data,)


@dataclass(frozen=True, eq=False)
class HeadOutput:
    """The flattened branches of one forward pass.

    Args:
        branches: Name to :class:`Branch`; usual names are ``cls``, ``bbox``,
            ``objectness``, ``centerness``, ``heatmap``, ``tags``, ``field``.
        level_sizes: Priors of each level; they add up to N.
    """

    branches: Mapping[str, Branch]
    level_sizes: tuple[int, ...]

    @classmethod
    def of(
        cls, tensors: Mapping[str, Tensor], level_sizes: Sequence[int] | None = None
    ) -> 'HeadOutput':
        """From flat tensors, one per branch, each on every level."""
        first = next(iter(tensors.values()))
        sizes = tuple(level_sizes) if level_sizes is not None else (first.shape[-2],)
        return cls({name: Branch(data) for name, data in tensors.items()}, sizes)

    def __contains__(self, name: str) -> bool:
        return name in self.branches

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of a branch.

        Raises:
            KeyError: Naming the branches there are.
        """
        if name not in self.branches:
            have = ', '.join(sorted(self.branches))
            raise KeyError(f'the head has no output {name!r}; it has: {have}')
        return self.branches[name].data

    @property
    def batch_size(self) -> int:
        """B."""
        return next(iter(self.branches.values())).data.shape[-3]

    @cached_property
    def num_priors(self) -> int:
        """N."""
        return sum(self.level_sizes)

    def map_index(self, name: str) -> Tensor | None:
        """``(N,)`` where prior n stands in a branch, -1 where the branch lacks it; None if all."""
        levels = self.branches[name].levels
        if levels is None:
            return None
        parts, position = [], 0
        for level, size in enumerate(self.level_sizes):
            if level in levels:
                parts.append(torch.arange(position, position + size))
                position += size
            else:
                parts.append(torch.full((size,), -1))
        return torch.cat(parts).to(self[name].device)

    def at(self, name: str, image: Tensor, prior: Tensor) -> tuple[Tensor, Tensor | None]:
        """The values of a branch at K priors.

        Returns:
            ``(K, D)`` values (``(S, K, D)`` with stages), and ``(K,)`` bool, which of
            them exist (None when all do; the value of a missing one is meaningless).
        """
        data = self[name]
        index = self.map_index(name)
        present = None
        if index is not None:
            prior = index[prior]
            present = prior >= 0
            prior = prior.clamp(min=0)
        flat = data.flatten(-3, -2)  # (..., B * n, D)
        return flat.index_select(-2, image * data.shape[-2] + prior), present


def flatten_maps(maps: Sequence[Tensor], num_base: int | Sequence[int], channels: int) -> Tensor:
    """Flatten one map per level into ``(B, N, channels)``, ordered level, y, x, a.

    Args:
        maps: ``(B, num_base * channels, H, W)`` a level.
        num_base: A, the priors of a cell; one number per level where they differ.
        channels: D, the values of a prior.
    """
    per_level = [num_base] * len(maps) if isinstance(num_base, int) else list(num_base)
    if len(per_level) != len(maps):
        raise ShapeError(f'{len(maps)} maps, but {len(per_level)} levels of priors')
    rows = []
    for i, (level_map, base) in enumerate(zip(maps, per_level)):
        if level_map.shape[1] != base * channels:
            raise ShapeError(
                f'level {i}: expected {base} x {channels} channels, got {level_map.shape[1]}'
            )
        rows.append(level_map.permute(0, 2, 3, 1).reshape(level_map.shape[0], -1, channels))
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)
