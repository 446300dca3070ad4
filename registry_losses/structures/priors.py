"""Priors: the priors of one input size.

Shapes: B images, N priors, A priors per cell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import ShapeError, check_shape

T = TypeVar('T')


@dataclass(frozen=True)
class Level:
    """One regular grid of priors.

    Everything here is a plain number, so that a rule can reason about the grid
    without waiting for the device.

    Args:
        height: Rows of cells.
        width: Columns of cells.
        stride: Cell size (x, y) in pixels.
        base_sizes: (width, height) in pixels of each of the A priors of a cell.
        offset: Where in its cell a prior is centred, in strides: the centre of cell
            (x, y) is ``((x + offset) * stride_x, (y + offset) * stride_y)``.
    """

    height: int
    width: int
    stride: tuple[float, float]
    base_sizes: tuple[tuple[float, float], ...]
    offset: float = 0.5

    @property
    def num_base(self) -> int:
        """A, the priors of one cell."""
        return len(self.base_sizes)

    @property
    def num_priors(self) -> int:
        """Priors of the whole level."""
        return self.height * self.width * self.num_base


@dataclass(frozen=True, eq=False)
class Priors:
    """The N priors of one input size, flattened level, y, x, a.

    Args:
        boxes: ``(N, 4)`` xyxy in pixels, or ``(B, N, 4)`` where they differ by image.
        strides: ``(N, 2)`` pixels (x, y) a cell; for proposals, of their RoI level.
        levels: The grids, in order; empty for priors without a grid, which then
            count as one level.
        centers: ``(N, 2)`` or ``(B, N, 2)``; the box centres by default.
        valid: ``(B, N)`` bool, False for priors that do not take part (in the padding
            beyond an image, outside ``allowed_border``, padded proposals); None for all.
        class_row: ``(N,)`` int64, the class vector each prior reads, where several
            priors share one (the B boxes of a YOLOv1 cell); None gives each its own.
        num_class_rows: Number of class vectors per image; N by default.

    Raises:
        ShapeError: If the shapes disagree with each other or with ``levels``.
    """

    boxes: Tensor
    strides: Tensor
    levels: tuple[Level, ...] = ()
    centers: Tensor = None  # type: ignore[assignment]
    valid: Tensor | None = None
    class_row: Tensor | None = None
    num_class_rows: int = field(default=-1)

    def __post_init__(self) -> None:
        if self.boxes.dim() not in (2, 3) or self.boxes.shape[-1] != 4:
            raise ShapeError(
                f'priors.boxes: expected (N, 4) or (B, N, 4), got {tuple(self.boxes.shape)}'
            )
        n = self.boxes.shape[-2]
        if self.centers is None:
            centers = (self.boxes[..., :2] + self.boxes[..., 2:]) / 2
            object.__setattr__(self, 'centers', centers)
        check_shape('priors.centers', self.centers, *self.boxes.shape[:-1], 2)
        if self.strides.dim() == 2:
            check_shape('priors.strides', self.strides, n, 2)
        else:
            check_shape('priors.strides', self.strides, *self.boxes.shape[:-1], 2)
        if self.valid is not None:
            check_shape('priors.valid', self.valid, 'B', n)
        if self.class_row is not None:
            check_shape('priors.class_row', self.class_row, n)
            if self.num_class_rows < 0:
                raise ShapeError('priors.num_class_rows: needed beside class_row')
        else:
            object.__setattr__(self, 'num_class_rows', n)
        if self.levels and sum(level.num_priors for level in self.levels) != n:
            raise ShapeError(
                f'priors.levels: hold {sum(level.num_priors for level in self.levels)} priors, '
                f'but boxes has {n}'
            )

    @property
    def num_priors(self) -> int:
        """N."""
        return self.boxes.shape[-2]

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.boxes.device

    @property
    def per_image(self) -> bool:
        """Whether each image has priors of its own (proposals)."""
        return self.boxes.dim() == 3

    @cached_property
    def level_sizes(self) -> tuple[int, ...]:
        """Priors per level; ``(N,)`` for priors without a grid."""
        if not self.levels:
            return (self.num_priors,)
        return tuple(level.num_priors for level in self.levels)

    @cached_property
    def level_starts(self) -> tuple[int, ...]:
        """Index of the first prior of each level."""
        starts, total = [], 0
        for size in self.level_sizes:
            starts.append(total)
            total += size
        return tuple(starts)

    @cached_property
    def level_ids(self) -> Tensor:
        """``(N,)`` int64, the level of each prior."""
        sizes = torch.tensor(self.level_sizes)
        ids = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        return ids.to(self.device)

    def boxes_at(self, image: Tensor, prior: Tensor) -> Tensor:
        """``(K, 4)`` boxes of the priors ``prior`` of the images ``image``, both ``(K,)``."""
        return self._at(self.boxes, image, prior)

    def centers_at(self, image: Tensor, prior: Tensor) -> Tensor:
        """``(K, 2)`` centres of these priors."""
        return self._at(self.centers, image, prior)

    def strides_at(self, image: Tensor, prior: Tensor) -> Tensor:
        """``(K, 2)`` strides of these priors."""
        return self._at(self.strides, image, prior)

    def class_rows_at(self, image: Tensor, prior: Tensor) -> Tensor:
        """``(K,)`` class rows of these priors, counted over the batch."""
        row = prior if self.class_row is None else self.class_row[prior]
        return image * self.num_class_rows + row

    @cached_property
    def derived(self) -> dict[str, Any]:
        """What :meth:`once` keeps, by name; nothing in it depends on ``valid``."""
        return {}

    def once(self, name: str, compute: Callable[['Priors'], T]) -> T:
        """``compute(self)``, kept under ``name``; copies by :meth:`with_valid` share it."""
        if name not in self.derived:
            self.derived[name] = compute(self)
        return self.derived[name]

    def with_valid(self, valid: Tensor | None) -> 'Priors':
        """These priors with ``valid (B, N)`` in place of their own."""
        other = replace(self, valid=valid)
        vars(other)['derived'] = self.derived
        return other

    @staticmethod
    def _at(values: Tensor, image: Tensor, prior: Tensor) -> Tensor:
        if values.dim() == 2:
            return values.index_select(0, prior)
        return values[image, prior]


def grid_points(
    level: Level, *, device: torch.device | str = 'cpu', dtype: torch.dtype = torch.float32
) -> Tensor:
    """Centres of the cells of a level, row by row: ``(height * width, 2)`` xy pixels."""
    xs = (torch.arange(level.width, device=device, dtype=dtype) + level.offset) * level.stride[0]
    ys = (torch.arange(level.height, device=device, dtype=dtype) + level.offset) * level.stride[1]
    return torch.stack((xs.repeat(level.height), ys.repeat_interleave(level.width)), dim=-1)


def level_strides(levels: Sequence[Level], *, device: torch.device | str = 'cpu') -> Tensor:
    """``(N, 2)`` strides of every prior of ``levels``."""
    strides = torch.tensor([level.stride for level in levels], dtype=torch.float32)
    sizes = torch.tensor([level.num_priors for level in levels])
    return strides.reshape(-1, 2).repeat_interleave(sizes, dim=0).to(device)
