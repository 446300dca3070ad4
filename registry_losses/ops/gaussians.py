"""Gaussians on heatmaps: how far a target may spread, and its values."""

import torch
from torch import Tensor


def gaussian_radius(
    height: Tensor, width: Tensor, min_overlap: float = 0.7, *, corrected: bool = True
) -> Tensor:
    """Largest shift of a box's corners that keeps the IoU with the box.

    The least of three radii, for which the IoU is just ``min_overlap``: r1, both corners
    move the same way, ``r^2 - (h + w) r + h w (1 - o) / (1 + o) = 0``; r2, the box
    shrinks, ``4 r^2 - 2 (h + w) r + h w (1 - o) = 0``; r3, it grows,
    ``4 o r^2 + 2 o (h + w) r - h w (1 - o) = 0``. Law & Deng, CornerNet, ECCV 2018,
    section 3.2.

    Args:
        height: ``(...)`` float32, in cells.
        width: ``(...)`` float32, in cells.
        min_overlap: o; 0.7 in CornerNet, 0.3 in OpenMMLab's CenterNet.
        corrected: Solve the equations. False gives the published code's radii, which
            take the larger root of the first and do not divide by the leading
            coefficient of the others.

    Returns:
        ``(...)`` radii in cells, not negative; 0 for boxes without area.
    """
    height, width = height.float().clamp(min=0), width.float().clamp(min=0)
    half, area = height + width, height * width
    free = area * (1 - min_overlap)
    # Rounding can make a discriminant of a square box slightly negative.
    root1 = (half**2 - 4 * free / (1 + min_overlap)).clamp(min=0).sqrt()
    root2 = (4 * half**2 - 16 * free).clamp(min=0).sqrt()
    root3 = (4 * min_overlap**2 * half**2 + 16 * min_overlap * free).clamp(min=0).sqrt()
    if corrected:
        radii = (
            (half - root1) / 2,
            (2 * half - root2) / 8,
            (root3 - 2 * min_overlap * half) / (8 * min_overlap),
        )
    else:
        radii = (
            (half + root1) / 2,
            (2 * half + root2) / 2,
            (root3 - 2 * min_overlap * half) / 2,
        )
    return torch.stack(radii).amin(dim=0).clamp(min=0)


def gaussian_values(dx: Tensor, dy: Tensor, sigma: Tensor | float) -> Tensor:
    """``exp(-(dx^2 + dy^2) / (2 sigma^2))`` of offsets that broadcast, in (0, 1]."""
    dx, dy = dx.float(), dy.float()
    return torch.exp(-(dx * dx + dy * dy) / (2 * sigma**2))
