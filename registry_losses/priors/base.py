"""What every prior generator shares: caching, valid priors, OpenMMLab's methods.

Shapes: B images, N priors, A priors per cell.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError, ShapeError
from ..structures import Level, Priors, level_strides

Size = tuple[int, int]

_CACHE_SIZE = 16
"""Input sizes kept. Multi-scale training meets a few; the bound is for data sets in
which every image has a size of its own."""


def pair(value: float | Sequence[float]) -> tuple[float, float]:
    """``(value, value)`` of a number, a pair as it stands."""
    if isinstance(value, (int, float)):
        return (value, value)
    first, second = value
    return (first, second)


class BasePriorGenerator(ABC):
    """Generates the priors of a head for its feature maps.

    Calling it gives :class:`~registry_losses.structures.Priors`. The part that does not
    depend on the images is kept per feature map sizes and device, for the last few of
    them. A subclass gives :meth:`levels` and :meth:`grid_boxes`.

    Args:
        strides: Of each level, one number or (x, y).
    """

    def __init__(self, strides: Sequence[float | Sequence[float]]) -> None:
        if not strides:
            raise ConfigError('strides: expected at least one level, got none')
        self.strides: list[tuple[float, float]] = [pair(stride) for stride in strides]
        if any(side <= 0 for stride in self.strides for side in stride):
            raise ConfigError(f'strides: expected positive numbers, got {list(strides)}')
        self._cache: OrderedDict[tuple, Priors] = OrderedDict()

    def __getstate__(self) -> dict:
        """Copies and pickles leave the kept priors behind."""
        return {**self.__dict__, '_cache': OrderedDict()}

    @property
    def num_levels(self) -> int:
        """Feature maps expected."""
        return len(self.strides)

    @property
    @abstractmethod
    def num_base_priors(self) -> list[int]:
        """A of each level."""

    @abstractmethod
    def level(self, index: int, size: Size) -> Level:
        """The grid of a feature map of ``size`` (height, width)."""

    @abstractmethod
    def level_boxes(self, index: int, size: Size, device: torch.device | str) -> Tensor:
        """``(n, 4)`` float32 xyxy boxes of a level, ordered y, x, a."""

    def level_centers(self, index: int, size: Size, device: torch.device | str) -> Tensor | None:
        """``(n, 2)`` centres where they are not to be worked out from the boxes."""
        return None

    def __call__(
        self,
        featmap_sizes: Sequence[Size],
        *,
        device: torch.device | str = 'cpu',
        image_sizes: Tensor | None = None,
        allowed_border: float | None = None,
        border_sizes: Tensor | None = None,
    ) -> Priors:
        """The priors of feature maps.

        Args:
            featmap_sizes: (height, width) of each level.
            device: Where the priors are wanted.
            image_sizes: ``(B, 2)`` height and width up to which cells are valid: of each
                image with its own padding. A cell that begins beyond is not. On the
                CPU, so that no host sync is needed; None for all valid.
            allowed_border: Priors whose box reaches further than this many pixels beyond
                the image are not valid; None or negative for no such limit.
            border_sizes: ``(B, 2)`` height and width that the border is measured from,
                the content of each image; ``image_sizes`` by default.

        Returns:
            Priors; ``valid`` is None where every prior is.

        Raises:
            ShapeError: If there are more or fewer feature maps than strides.
        """
        sizes = self._check_sizes(featmap_sizes)
        priors = self._static_priors(sizes, torch.device(device))
        valid = None
        if image_sizes is not None:
            valid = self._valid_cells(sizes, image_sizes, priors.device)
        if allowed_border is not None and allowed_border >= 0:
            limits = image_sizes if border_sizes is None else border_sizes
            if limits is None:
                raise ConfigError('allowed_border: needs image_sizes or border_sizes')
            inside = _inside(priors.boxes, limits, allowed_border)
            valid = inside if valid is None else valid & inside
        return priors if valid is None else priors.with_valid(valid)

    priors = __call__

    def _check_sizes(self, featmap_sizes: Sequence[Size]) -> tuple[Size, ...]:
        sizes = tuple((int(h), int(w)) for h, w in featmap_sizes)
        if len(sizes) != self.num_levels:
            raise ShapeError(
                f'{type(self).__name__}: expected {self.num_levels} feature maps (one a stride), '
                f'got {len(sizes)}'
            )
        return sizes

    def _static_priors(self, sizes: tuple[Size, ...], device: torch.device) -> Priors:
        key = (sizes, str(device))
        if key not in self._cache:
            self._cache[key] = self._lay(sizes, device)
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def _lay(self, sizes: tuple[Size, ...], device: torch.device) -> Priors:
        levels = tuple(self.level(i, size) for i, size in enumerate(sizes))
        boxes = [self.level_boxes(i, size, device) for i, size in enumerate(sizes)]
        centers = [self.level_centers(i, size, device) for i, size in enumerate(sizes)]
        known = [c for c in centers if c is not None]
        centers_or_none = torch.cat(known) if len(known) == len(centers) else None
        return Priors(
            boxes=torch.cat(boxes),
            strides=level_strides(levels, device=device),
            levels=levels,
            centers=centers_or_none,  # type: ignore[arg-type]
        )

    def _valid_cells(
        self, sizes: tuple[Size, ...], image_sizes: Tensor, device: torch.device
    ) -> Tensor | None:
        """``(B, N)`` bool; None where all are valid and the sizes stand on the CPU."""
        limits = image_sizes.double()
        on_host = limits.device.type == 'cpu'
        rows, everything = [], True
        for index, (height, width) in enumerate(sizes):
            stride_x, stride_y = self.strides[index]
            ys = torch.arange(height, dtype=torch.float64, device=limits.device) * stride_y
            xs = torch.arange(width, dtype=torch.float64, device=limits.device) * stride_x
            valid_y = ys < limits[:, :1]  # (B, H)
            valid_x = xs < limits[:, 1:]  # (B, W)
            everything = everything and on_host and bool(valid_y.all() and valid_x.all())
            cells = (valid_y[:, :, None] & valid_x[:, None, :]).flatten(1)  # (B, H * W)
            rows.append(cells.repeat_interleave(self.num_base_priors[index], dim=1))
        return None if everything else torch.cat(rows, dim=1).to(device, non_blocking=True)

    # OpenMMLab's methods --------------------------------------------------------------

    def grid_priors(
        self,
        featmap_sizes: Sequence[Size],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
    ) -> list[Tensor]:
        """``(n, 4)`` xyxy boxes of each level."""
        sizes = self._check_sizes(featmap_sizes)
        return [self.level_boxes(i, size, device).to(dtype) for i, size in enumerate(sizes)]

    def valid_flags(
        self,
        featmap_sizes: Sequence[Size],
        pad_shape: Sequence[int],
        device: torch.device | str = 'cpu',
    ) -> list[Tensor]:
        """``(n,)`` bool of each level: whether a prior's cell begins within ``pad_shape``."""
        sizes = self._check_sizes(featmap_sizes)
        limits = torch.tensor([[float(pad_shape[0]), float(pad_shape[1])]])
        counts = [h * w * a for (h, w), a in zip(sizes, self.num_base_priors)]
        valid = self._valid_cells(sizes, limits, torch.device('cpu'))
        if valid is None:
            valid = torch.ones(1, sum(counts), dtype=torch.bool)
        return list(valid[0].to(device).split(counts))


def _inside(boxes: Tensor, limits: Tensor, border: float) -> Tensor:
    """``(B, N)`` bool, boxes that reach at most ``border`` pixels beyond their image."""
    limits = limits.to(boxes.device, boxes.dtype, non_blocking=True) + border
    low = (boxes[:, :2] >= -border).all(dim=-1)  # (N,)
    high = boxes[:, 2:] < limits.flip(-1)[:, None]  # (B, N, 2)
    return low & high.all(dim=-1)
