"""RoIAlign in operations of torch, or by a compiled operator where there is one.

Shapes: B images, C channels, H x W cells, K regions, P x Q bins a region, G samples a
side of a bin.
"""

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import MissingDependencyError, check_shape

Backend = Literal['auto', 'torch', 'torchvision']

_BUDGET = 1 << 22  # corners of samples at once


@lru_cache(maxsize=1)
def _torchvision_roi_align():
    """The operator of torchvision, or None; see :mod:`registry_losses.ops.nms`."""
    try:
        import torchvision

        torchvision.ops.roi_align(torch.zeros(1, 1, 2, 2), torch.zeros(1, 5), 1)
        return torchvision.ops.roi_align
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

    He et al., Mask R-CNN, ICCV 2017, section 3. A sample more than one cell outside the
    map counts as 0, one less far outside takes the border's value.

    Args:
        features: ``(B, C, H, W)``.
        rois: ``(K, 5)`` image index, x1, y1, x2, y2 in pixels of the input.
        output_size: P = Q, or (P, Q) rows and columns of bins.
        spatial_scale: Cells a pixel.
        sampling_ratio: G; 0 takes one sample a cell, ``ceil(side / bins)``.
        aligned: Cell centres lie at half cells. False is Detectron's first form, whose
            regions are at least one cell wide.
        backend: ``torch``; ``torchvision``; ``auto``, the latter where it is installed.

    Returns:
        ``(K, C, P, Q)`` of the dtype of ``features``, differentiable in them.

    Raises:
        ShapeError: If the shapes are not those.
        MissingDependencyError: If ``backend='torchvision'`` is not installed.
    """
    check_shape('features', features, 'B', 'C', 'H', 'W')
    check_shape('rois', rois, 'K', 5)
    if backend not in ('auto', 'torch', 'torchvision'):
        raise ValueError(f'backend: expected auto, torch or torchvision; got {backend!r}')
    size = (output_size, output_size) if isinstance(output_size, int) else output_size
    operator = None if backend == 'torch' else _torchvision_roi_align()
    if operator is not None:
        ratio = sampling_ratio if sampling_ratio > 0 else -1
        return operator(features, rois.to(features), size, spatial_scale, ratio, aligned)
    if backend == 'torchvision':
        raise MissingDependencyError('backend torchvision: install a torchvision that fits torch')
    return _roi_align(features, rois.float(), size, spatial_scale, sampling_ratio, aligned)


def _roi_align(
    features: Tensor,
    rois: Tensor,
    size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Each bin is a weighted sum of cells, which an embedding bag works out in one pass.

    Waits for the device once, for the number of samples.
    """
    channels, height, width = features.shape[1:]
    low = rois[:, 1:3] * scale - (0.5 if aligned else 0.0)  # (K, 2) x, y
    sides = (rois[:, 3:] - rois[:, 1:3]) * scale
    if not aligned:
        sides = sides.clamp(min=1)
    bins = torch.stack((sides[:, 0] / size[1], sides[:, 1] / size[0]), dim=1)
    counts = torch.full_like(bins, sampling_ratio).long()
    if sampling_ratio <= 0:
        counts = bins.ceil().clamp(min=0).long()
    cells = features.float().permute(0, 2, 3, 1).reshape(-1, channels)  # (B * H * W, C)
    pooled = [
        _pool(cells, rois[part, 0].long(), low[part], bins[part], counts[part], size, height, width)
        for part in _chunks(counts.prod(dim=1) * (4 * size[0] * size[1]))
    ]
    out = torch.cat(pooled) if pooled else cells.new_zeros(0, channels) + cells.sum() * 0
    out = out.reshape(-1, size[0], size[1], channels).permute(0, 3, 1, 2)
    return out.contiguous().to(features.dtype)


def _chunks(costs: Tensor) -> list[slice]:
    """Runs of regions of about one budget of samples, for their ``(K,)`` costs."""
    chunks, start, total = [], 0, 0
    for index, cost in enumerate(costs.tolist()):
        if total and total + cost > _BUDGET:
            chunks.append(slice(start, index))
            start, total = index, 0
        total += cost
    if len(costs) > start:
        chunks.append(slice(start, len(costs)))
    return chunks


def _pool(
    cells: Tensor,
    image: Tensor,
    low: Tensor,
    bins: Tensor,
    counts: Tensor,
    size: tuple[int, int],
    height: int,
    width: int,
) -> Tensor:
    """``(k * P * Q, C)`` bins of k regions."""
    rows, columns = size
    device, per_region = low.device, rows * columns
    each = counts.prod(dim=1).repeat_interleave(per_region)  # samples of every bin
    offsets = each.cumsum(0) - each
    bag = torch.arange(len(each), device=device).repeat_interleave(each)
    sample = torch.arange(len(bag), device=device) - offsets[bag]
    region, bin_ = bag // per_region, bag % per_region
    count_x, count_y = counts[region].unbind(1)
    x = _position(low[:, 0], bins[:, 0], region, bin_ % columns, sample % count_x, count_x)
    y = _position(low[:, 1], bins[:, 1], region, bin_ // columns, sample // count_x, count_y)
    inside = (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
    share = inside / (count_x * count_y)
    (left, right, dx), (top, bottom, dy) = _between(x, width), _between(y, height)
    first = image[region] * height
    top, bottom = (first + top) * width, (first + bottom) * width
    index = torch.stack((top + left, top + right, bottom + left, bottom + right), dim=1)
    weights = torch.stack(((1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx), dim=1)
    return functional.embedding_bag(
        index.flatten(),
        cells,
        offsets * 4,
        mode='sum',
        per_sample_weights=(weights * share[:, None]).flatten(),
    )


def _position(
    low: Tensor, bins: Tensor, region: Tensor, bin_: Tensor, sample: Tensor, count: Tensor
) -> Tensor:
    """``(S,)`` coordinate of each sample along one axis, in cells."""
    return low[region] + bins[region] * (bin_ + (sample + 0.5) / count)


def _between(at: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells a coordinate lies between, and how far it is past the first."""
    at = at.clamp(0, cells - 1)
    before = at.floor()
    return before.long(), (before.long() + 1).clamp(max=cells - 1), at - before
