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

_BUDGET = 1 << 25  # samples (times channels) held at once


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
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
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
    """Regions with equally many samples side by side, a few images and chunks at a time.

    Waits for the device: the samples of each region, unless their number is given.
    """
    out = features.new_zeros(len(rois), features.shape[1], *size)
    if not len(rois):
        return out + features.sum() * 0
    low = rois[:, 1:3] * scale - (0.5 if aligned else 0.0)  # (K, 2) x, y
    sides = (rois[:, 3:] - rois[:, 1:3]) * scale
    if not aligned:
        sides = sides.clamp(min=1)
    bins = sides / sides.new_tensor([size[1], size[0]])
    counts = (
        bins.ceil().clamp(min=0)
        if sampling_ratio <= 0
        else bins.new_full(bins.shape, float(sampling_ratio))
    )
    image = rois[:, 0].long()
    most = counts.amax(dim=1).long()
    pieces, places = [], []
    for count, index in torch.stack((most, image)).unique(dim=1).T.tolist():
        if count == 0:
            continue
        members = ((most == count) & (image == index)).nonzero().squeeze(1)
        per_chunk = max(1, _BUDGET // (count * count * size[0] * size[1] * features.shape[1]))
        for chunk in members.split(per_chunk):
            pieces.append(
                _sample(features[index], low[chunk], bins[chunk], counts[chunk], size, count)
            )
            places.append(chunk)
    if not pieces:
        return out + features.sum() * 0
    return out.index_copy(0, torch.cat(places), torch.cat(pieces).to(out.dtype))


def _sample(
    feature: Tensor, low: Tensor, bins: Tensor, counts: Tensor, size: tuple[int, int], g: int
) -> Tensor:
    """``(k, C, P, Q)`` bins of k regions of one image with at most ``g`` samples a side."""
    height, width = feature.shape[-2:]
    x, weight_x = _positions(low[:, 0], bins[:, 0], counts[:, 0], size[1], g, width)
    y, weight_y = _positions(low[:, 1], bins[:, 1], counts[:, 1], size[0], g, height)
    k, rows, columns = len(low), size[0] * g, size[1] * g
    grid = torch.stack(
        (x[:, None].expand(k, rows, columns), y[:, :, None].expand(k, rows, columns)), dim=-1
    )
    # 'border' gives what a sample just outside takes; those further out have weight 0.
    samples = functional.grid_sample(
        feature.float()[None],
        grid.reshape(1, k * rows, columns, 2),
        mode='bilinear',
        padding_mode='border',
        align_corners=True,
    )[0]  # (C, k * P * G, Q * G)
    samples = samples.unflatten(1, (k, rows)) * weight_y[None, :, :, None] * weight_x[None, :, None]
    samples = samples.unflatten(3, (size[1], g)).sum(dim=4)
    return samples.unflatten(2, (size[0], g)).sum(dim=3).transpose(0, 1)


def _positions(
    low: Tensor, bins: Tensor, counts: Tensor, number: int, g: int, cells: int
) -> tuple[Tensor, Tensor]:
    """``(k, number * g)`` sample positions in [-1, 1] over the map, and their weights."""
    step = torch.arange(g, device=low.device, dtype=low.dtype)
    start = low[:, None] + bins[:, None] * torch.arange(number, device=low.device)
    within = (step + 0.5) / counts[:, None].clamp(min=1)  # (k, g), in bins
    at = start[:, :, None] + (bins[:, None] * within)[:, None]  # (k, number, g)
    weight = (step < counts[:, None]) / counts[:, None].clamp(min=1)
    weight = weight[:, None] * ((at >= -1) & (at <= cells))
    place = at.clamp(0, cells - 1) / max(cells - 1, 1) * 2 - 1
    return place.flatten(1), weight.flatten(1)
