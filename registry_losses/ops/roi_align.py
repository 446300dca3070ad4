"""RoIAlign in operations of torch, or by a compiled operator where there is one.

Shapes: B images, C channels, H x W cells, K regions, P x Q bins a region, G samples a
side of a bin, L cells a side that a bin reads.

A bin is a weighted sum of cells, and the weights are products of one factor along y and
one along x. So the factors are worked out axis by axis, for all regions with the same G
at once, and an embedding bag takes the sums. Its table is a copy of some channels of the
map with the channels last, so that what is held beside the output stays below its size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ..errors import MissingDependencyError, check_shape

Backend = Literal['auto', 'torch', 'torchvision', 'mmcv']

_FEW = 256  # regions
_LEAST_CORNERS = 1 << 14  # below that many at once, calls cost more than what they do


@lru_cache(maxsize=1)
def _torchvision_roi_align():
    """The operator of torchvision, or None; see :mod:`registry_losses.ops.nms`."""
    try:
        import torchvision

        torchvision.ops.roi_align(torch.zeros(1, 1, 2, 2), torch.zeros(1, 5), 1)
        return torchvision.ops.roi_align
    except (ImportError, RuntimeError, OSError, AttributeError, NotImplementedError):
        return None


@lru_cache(maxsize=1)
def _mmcv_roi_align():
    """The operator of mmcv, or None: mmcv-lite has none."""
    try:
        from mmcv.ops import roi_align as operator

        operator(torch.zeros(1, 1, 2, 2), torch.zeros(1, 5), 1)
        return operator
    except (ImportError, RuntimeError, OSError, AttributeError, NotImplementedError):
        return None


def roi_align(
    features: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    *,
    aligned: bool = True,
    backend: Backend = 'auto',
) -> Tensor:
    """Mean of bilinear samples in each bin of each region.

    He et al., Mask R-CNN, ICCV 2017, RoIAlign. A sample more than one cell outside the
    map counts as 0, one less far outside takes the border's value.

    Args:
        features: ``(B, C, H, W)``.
        rois: ``(K, 5)`` image index, x1, y1, x2, y2 in pixels of the input.
        output_size: P = Q, or (P, Q) rows and columns of bins.
        spatial_scale: Cells a pixel.
        sampling_ratio: G; 0 takes one sample a cell, ``ceil(side / bins)``.
        aligned: Cell centres lie at half cells. False is Detectron's first form, whose
            regions are at least one cell wide.
        backend: ``torch``: operations of torch alone. ``mmcv``, ``torchvision``: their
            compiled operators. ``auto``: the first of mmcv's and torchvision's that is
            installed, else torch.

    Returns:
        ``(K, C, P, Q)`` of the dtype of ``features``, differentiable in them.

    Raises:
        ShapeError: If the shapes are not those.
        MissingDependencyError: If the backend asked for is not installed.
    """
    check_shape('features', features, 'B', 'C', 'H', 'W')
    check_shape('rois', rois, 'K', 5)
    if backend not in get_args(Backend):
        raise ValueError(f'backend: expected {", ".join(get_args(Backend))}; got {backend!r}')
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    if backend in ('auto', 'mmcv'):
        operator = _mmcv_roi_align()
        if operator is not None:
            boxes, ratio = rois.to(features), max(sampling_ratio, 0)
            return operator(features, boxes, size, spatial_scale, ratio, 'avg', aligned)
        if backend == 'mmcv':
            raise MissingDependencyError('backend mmcv: install mmcv, the full one, not mmcv-lite')
    if backend in ('auto', 'torchvision'):
        operator = _torchvision_roi_align()
        if operator is not None:
            ratio = sampling_ratio if sampling_ratio > 0 else -1
            return operator(features, rois.to(features), size, spatial_scale, ratio, aligned)
        if backend == 'torchvision':
            raise MissingDependencyError(
                'backend torchvision: install a torchvision that fits torch'
            )
    return _RoIAlign.apply(features, rois, size, spatial_scale, sampling_ratio, aligned)


class _RoIAlign(torch.autograd.Function):
    """The operator and its gradient with respect to the map."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        rois: Tensor,
        size: tuple[int, int],
        scale: float,
        sampling_ratio: int,
        aligned: bool,
    ) -> Tensor:
        """``(K, C, P, Q)``."""
        regions = _Regions.of(rois, features, size, scale, sampling_ratio, aligned)
        ctx.regions, ctx.shape, ctx.dtype = regions, features.shape, features.dtype
        out = features.new_zeros(len(rois), features.shape[1], *size)
        for channels in _channel_groups(features.shape, out.numel()):
            part = features[:, channels].permute(0, 2, 3, 1)  # (B, H, W, c)
            table = part.reshape(-1, part.shape[-1]).to(regions.dtype)
            for chosen, index, weights in regions.corners(out.numel(), table.shape[1]):
                pooled = functional.embedding_bag(
                    index, table, mode='sum', per_sample_weights=weights
                )
                pooled = pooled.unflatten(0, (-1, *size)).permute(0, 3, 1, 2)
                out[:, channels].index_copy_(0, chosen, pooled.to(out.dtype))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):  # type: ignore[override]
        """Every cell is a weighted sum of the bins that read it: the same bag, turned round."""
        regions: _Regions = ctx.regions
        batch, _, height, width = ctx.shape
        out = grad.new_zeros(ctx.shape, dtype=ctx.dtype)
        for channels in _channel_groups(ctx.shape, grad.numel()):
            cells = grad.new_zeros(
                batch * height * width, channels.stop - channels.start, dtype=regions.dtype
            )
            for chosen, index, weights in regions.corners(grad.numel(), cells.shape[1]):
                part = grad[:, channels].index_select(0, chosen).permute(0, 2, 3, 1)
                table = part.reshape(-1, part.shape[-1]).to(regions.dtype)
                cell, order = torch.sort(index.flatten())
                counts = torch.bincount(cell, minlength=len(cells))
                cells += functional.embedding_bag(
                    torch.div(order, index.shape[1], rounding_mode='floor'),
                    table,
                    counts.cumsum(0) - counts,
                    mode='sum',
                    per_sample_weights=weights.flatten()[order],
                )
            out[:, channels] = cells.view(batch, height, width, -1).permute(0, 3, 1, 2)
        return out, None, None, None, None, None


def _channel_groups(shape: torch.Size, budget: int) -> Iterator[slice]:
    """Runs of channels whose maps have at most a third of ``budget`` elements, one at least."""
    batch, channels, height, width = shape
    fit = max(1, min(channels, budget // (3 * max(1, batch * height * width))))
    number = -(-channels // fit)
    fit = -(-channels // max(number, 1))
    for start in range(0, channels, max(fit, 1)):
        yield slice(start, min(start + fit, channels))


@dataclass(frozen=True, eq=False)
class _Regions:
    """Where the bins of K regions lie, in cells.

    Args:
        image: ``(K,)`` int64.
        low: ``(K, 2)`` x and y of the first corner.
        bins: ``(K, 2)`` width and height of a bin.
        counts: ``(K, 2)`` float, samples of a bin along x and y.
        most: The most samples (x, y) of a bin in each run.
        runs: The regions of each run.
        size: P, Q.
        cells: H, W.
        gaps: Samples may lie more than a cell apart.
    """

    image: Tensor
    low: Tensor
    bins: Tensor
    counts: Tensor
    most: list[tuple[int, int]]
    runs: list[Tensor]
    size: tuple[int, int]
    cells: tuple[int, int]
    gaps: bool

    @classmethod
    def of(
        cls,
        rois: Tensor,
        features: Tensor,
        size: tuple[int, int],
        scale: float,
        sampling_ratio: int,
        aligned: bool,
    ) -> '_Regions':
        """From ``(K, 5)`` regions in pixels. Waits for the device: the numbers of samples."""
        rois = rois.detach().to(features.dtype if features.dtype == torch.double else torch.float)
        low = rois[:, 1:3] * scale - (0.5 if aligned else 0.0)
        high = rois[:, 3:] * scale - (0.5 if aligned else 0.0)
        sides = high - low
        if not aligned:
            sides = sides.clamp(min=1)
        bins = sides / sides.new_tensor((size[1], size[0]))
        most: list[tuple[int, int]] = []
        runs = []
        if sampling_ratio > 0:
            counts = torch.full_like(bins, sampling_ratio)
            most.append((sampling_ratio, sampling_ratio))
            runs.append(torch.arange(len(rois), device=rois.device))
        else:
            counts = bins.ceil()
            # Few regions share a call with larger ones rather than have one of their own.
            few = len(rois) < _FEW
            shared = torch.exp2(counts.log2().ceil()) if few else counts
            pairs, run = torch.unique(shared.nan_to_num(0).long(), dim=0, return_inverse=True)
            lengths = torch.bincount(run, minlength=len(pairs)).tolist()
            for pair, members in zip(pairs.tolist(), torch.argsort(run).split(lengths)):
                if min(pair) > 0:  # others have no sample, and are 0
                    most.append((pair[0], pair[1]))
                    runs.append(members)
        cells = (features.shape[2], features.shape[3])
        image = rois[:, 0].long()
        return cls(image, low, bins, counts, most, runs, size, cells, gaps=sampling_ratio > 0)

    @property
    def dtype(self) -> torch.dtype:
        """Of everything worked out in between."""
        return self.low.dtype

    def corners(self, budget: int, channels: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Runs of k regions with the cells that their bins read.

        Args:
            budget: About a third of that many elements are held at once.
            channels: Of the table, as many as are pooled at once.

        Yields:
            ``(k,)`` regions; ``(k * P * Q, L * L)`` int64 cells among ``B * H * W``, and
            their weights.
        """
        (rows, columns), (height, width) = self.size, self.cells
        limit = max(budget // 6, 4 * _LEAST_CORNERS)
        for (across, down), run in zip(self.most, self.runs):
            reads = (2 * across * 2 * down) if self.gaps else (across + 1) * (down + 1)
            # A cell costs an index of 8 bytes, a weight, and what leads to them; a bin its
            # channels, and their copy in the order of the output.
            held = rows * columns * max(4 * reads, 2 * channels)
            for chosen in run.split(max(1, limit // held)):
                x, x_weights = self._along(0, chosen, columns, across, width)
                y, y_weights = self._along(1, chosen, rows, down, height)
                y = (self.image[chosen][:, None, None] * height + y) * width
                index = y[:, :, None, :, None] + x[:, None, :, None, :]
                weights = y_weights[:, :, None, :, None] * x_weights[:, None, :, None, :]
                yield chosen, index.flatten(3).flatten(0, 2), weights.flatten(3).flatten(0, 2)

    def _along(
        self, axis: int, chosen: Tensor, number: int, samples: int, cells: int
    ) -> tuple[Tensor, Tensor]:
        """``(k, number, L)`` cells along one axis that each bin reads, and their factors."""
        low, side, count = (
            each[chosen, axis, None, None] for each in (self.low, self.bins, self.counts)
        )
        steps = torch.arange(max(number, samples), device=low.device, dtype=low.dtype)
        sample = steps[:samples]
        at = low + steps[:number, None] * side + (sample + 0.5) * side / count
        inside = ((at >= -1) & (at <= cells) & (sample < count)) / count
        at = at.clamp(0, cells - 1)
        before = at.floor()
        far = (at - before) * inside
        near, before = inside - far, before.long()
        if self.gaps:
            index, weights = torch.cat((before, before + 1), 2), torch.cat((near, far), 2)
        else:
            # Samples lie at most one cell apart, so that neighbours share cells.
            first = before[..., :1]
            index = first + torch.arange(samples + 1, device=first.device)
            weights = at.new_zeros(index.shape)
            weights.scatter_add_(2, (before - first).clamp(max=samples), near)
            weights.scatter_add_(2, (before - first + 1).clamp(max=samples), far)
        return index.clamp(max=cells - 1), weights
