"""Peaks of heatmaps: local maxima, and where between the cells they are.

Shapes: B images, V joints, H x W cells, Q peaks of the batch.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, ShapeError
from ..ops.device import host_sync_is_free

Refinement = Literal['log_parabola', 'quarter', 'dark', 'none']


@dataclass(frozen=True, eq=False)
class Peaks:
    """Q local maxima, by image, then joint, then score, the best first.

    Args:
        image: ``(Q,)`` int64.
        joint: ``(Q,)`` int64.
        cell: ``(Q, 2)`` int64 x, y.
        position: ``(Q, 2)`` float32 x, y in cells; whole numbers are centres of cells.
        score: ``(Q,)`` float32, the heatmap's value at the cell.
    """

    image: Tensor
    joint: Tensor
    cell: Tensor
    position: Tensor
    score: Tensor


def find_peaks(
    heatmaps: Tensor,
    *,
    threshold: float = 0.1,
    kernel: int = 5,
    limit: int = 30,
    refinement: Refinement = 'log_parabola',
) -> Peaks:
    """The local maxima of a batch of heatmaps, in float32 whatever autocast says.

    Waits for the device once: how many there are.

    Args:
        heatmaps: ``(B, V, H, W)``, not changed.
        threshold: A peak is above it.
        kernel: Odd; a peak is the largest of so many cells squared around it. Of equal
            neighbours the first, row by row, is the peak.
        limit: Peaks an image and joint; the best stay.
        refinement: See :func:`refine`.
    """
    if heatmaps.dim() != 4:
        raise ShapeError(f'heatmaps: expected (B, V, H, W), got {tuple(heatmaps.shape)}')
    if kernel < 1 or kernel % 2 == 0:
        raise ConfigError(f'kernel: expected an odd number, got {kernel}')
    with torch.autocast(heatmaps.device.type, enabled=False):
        maps = heatmaps.detach().float()
        planes = maps.flatten(0, 1)
        # On a CPU NumPy compares and lists flags three times as fast.
        on_host = host_sync_is_free(planes.device)
        above = _above_sides(planes.numpy() if on_host else planes, threshold, kernel)
        # sync: how many may be peaks
        plane, y, x = map(torch.as_tensor, above.nonzero() if on_host else above.nonzero().T)
        highest = _is_highest(planes, plane, y, x, kernel // 2)
        plane, y, x = plane[highest], y[highest], x[highest]
        score = planes[plane, y, x]
        order = torch.argsort(score, descending=True, stable=True)
        order = order[torch.argsort(plane[order], stable=True)]
        plane, y, x, score = plane[order], y[order], x[order], score[order]
        place = torch.arange(len(plane), device=plane.device)
        start = torch.searchsorted(plane, plane)  # the first of the same plane
        best = place - start < limit
        plane, y, x, score = plane[best], y[best], x[best], score[best]
        position = torch.stack((x, y), dim=1) + refine(planes, plane, y, x, refinement)
    return Peaks(
        image=torch.div(plane, maps.shape[1], rounding_mode='floor'),
        joint=plane % maps.shape[1],
        cell=torch.stack((x, y), dim=1),
        position=position,
        score=score,
    )


def _above_sides(planes, threshold: float, kernel: int):
    """Flags of the cells above the threshold and not below a neighbour on any of four sides.

    Most cells are out by these, compared as whole maps. Of equal neighbours the first stays.

    Args:
        planes: ``(n, H, W)`` tensor or array; the flags are of the same kind.
        threshold: See :func:`find_peaks`.
        kernel: See :func:`find_peaks`.
    """
    above = planes > threshold
    if kernel > 1:
        rises = planes[:, 1:] > planes[:, :-1]
        above[:, 1:] &= rises
        above[:, :-1] &= ~rises
        rises = planes[:, :, 1:] > planes[:, :, :-1]
        above[:, :, 1:] &= rises
        above[:, :, :-1] &= ~rises
    return above


def _is_highest(planes: Tensor, plane: Tensor, y: Tensor, x: Tensor, half: int) -> Tensor:
    """``(Q,)`` whether no cell of the window is higher, and no cell before it is as high."""
    if half == 0 or not len(plane):
        return torch.ones_like(plane, dtype=torch.bool)
    h, w = planes.shape[-2:]
    offsets = torch.arange(-half, half + 1, device=plane.device)
    dy, dx = (o.reshape(-1) for o in torch.meshgrid(offsets, offsets, indexing='ij'))
    row, column = y[:, None] + dy, x[:, None] + dx
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    value = planes[plane[:, None], row.clamp(0, h - 1), column.clamp(0, w - 1)]
    middle = planes[plane, y, x][:, None]
    before = (dy < 0) | ((dy == 0) & (dx < 0))
    beaten = (value > middle) | (before & (value == middle))
    return ~(beaten & inside).any(dim=1)


def refine(
    planes: Tensor, plane: Tensor, y: Tensor, x: Tensor, method: Refinement = 'log_parabola'
) -> Tensor:
    """How far beside its cell's centre a peak lies, from its four neighbours.

    ``log_parabola`` puts a parabola through the logarithms of three cells, exact for a
    Gaussian, at most half a cell. ``quarter`` moves a quarter cell to the larger
    neighbour (Newell et al., Stacked Hourglass Networks, ECCV 2016).
    Across a border there is no neighbour, and nothing moves along that axis. ``dark`` takes
    one Newton step on the logarithm of the smoothed map (Zhang et al.,
    Distribution-Aware Coordinate Representation, CVPR 2020; as in Huang et
    al., The Devil is in the Details, CVPR 2020).

    Args:
        planes: ``(n, H, W)`` float32.
        plane: ``(Q,)`` int64.
        y: ``(Q,)`` int64.
        x: ``(Q,)`` int64.
        method: ``'log_parabola'``, ``'quarter'``, ``'dark'`` or ``'none'``.

    Returns:
        ``(Q, 2)`` x, y in cells.
    """
    if method not in get_args(Refinement):
        raise ConfigError(f'refinement: expected one of {get_args(Refinement)}, got {method!r}')
    shift = planes.new_zeros(len(plane), 2)
    if method == 'none' or not len(plane):
        return shift
    if method == 'dark':
        return _newton_step(planes, plane, y, x)
    h, w = planes.shape[-2:]
    middle = planes[plane, y, x]
    for axis, (place, size) in enumerate(((x, w), (y, h))):
        inside = (place > 0) & (place < size - 1)
        low, high = (place - 1).clamp(min=0), (place + 1).clamp(max=size - 1)
        if axis == 0:
            before, after = planes[plane, y, low], planes[plane, y, high]
        else:
            before, after = planes[plane, low, x], planes[plane, high, x]
        if method == 'quarter':
            move = 0.25 * torch.sign(after - before)
        else:
            a, m, b = (v.clamp(min=_TINY).log() for v in (before, middle, after))
            bend = 2 * m - a - b
            move = torch.where(bend > _FLAT, 0.5 * (b - a) / bend.clamp(min=_FLAT), 0)
            move = move.clamp(-0.5, 0.5)
        shift[:, axis] = torch.where(inside, move, 0)
    return shift


def _newton_step(planes: Tensor, plane: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """``-H^-1 g`` of the logarithm of each peak's map, smoothed 3 x 3, ``(Q, 2)`` x, y."""
    used, plane = torch.unique(plane, return_inverse=True)
    maps = planes[used][:, None]
    # OpenCV's kernel of 3 cells; the map keeps its maximum.
    side = planes.new_tensor([0.25, 0.5, 0.25])
    blurred = F.conv2d(maps, (side[:, None] * side)[None, None], padding=1)
    highest, smoothed = maps.amax((2, 3), keepdim=True), blurred.amax((2, 3), keepdim=True)
    maps = (blurred * highest / smoothed.clamp(min=_TINY)).clamp(1e-3, 50).log()
    maps = F.pad(maps, (1, 1, 1, 1), mode='replicate')[:, 0]

    def at(dx: int, dy: int) -> Tensor:
        return maps[plane, y + 1 + dy, x + 1 + dx]

    middle = at(0, 0)
    gradient = torch.stack((at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)), dim=1) / 2
    xx = at(1, 0) - 2 * middle + at(-1, 0)
    yy = at(0, 1) - 2 * middle + at(0, -1)
    xy = (at(1, 1) - at(1, 0) - at(0, 1) + 2 * middle - at(-1, 0) - at(0, -1) + at(-1, -1)) / 2
    hessian = torch.stack((xx, xy, xy, yy), dim=1).reshape(-1, 2, 2)
    hessian = hessian + torch.finfo(torch.float32).eps * torch.eye(2, device=maps.device)
    step = -torch.linalg.pinv(hessian) @ gradient[:, :, None]
    return step[:, :, 0].clamp(-_FARTHEST, _FARTHEST)


# A step of more cells than this has left the peak.
_FARTHEST = 2.0
# Keeps logarithms finite where a map is 0 or below.
_TINY = 1e-8
# Below this the three cells are level, and rounding would decide where the peak is.
_FLAT = 1e-6
