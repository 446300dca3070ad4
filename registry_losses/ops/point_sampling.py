"""A map read at points between its cells, one point a cell and channel.

Shapes: B images, C channels, H x W cells.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import MissingDependencyError, check_shape

Backend = Literal['auto', 'torch', 'torchvision', 'mmcv']
Operator = Callable[[Tensor, Tensor], Tensor]


@lru_cache(maxsize=1)
def _mmcv_operator() -> Operator | None:
    """Deformable convolution of mmcv, or None: mmcv-lite has none."""
    try:
        from mmcv.ops import deform_conv2d

        def operator(features: Tensor, offsets: Tensor) -> Tensor:
            channels = features.shape[1]
            ones = features.new_ones(channels, 1, 1, 1)
            return deform_conv2d(features, offsets, ones, 1, 0, 1, channels, channels)

        operator(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, 2))
        return operator
    except (ImportError, RuntimeError, OSError, AttributeError, NotImplementedError):
        return None


@lru_cache(maxsize=1)
def _torchvision_operator() -> Operator | None:
    """Deformable convolution of torchvision, or None; see :mod:`registry_losses.ops.nms`."""
    try:
        import torchvision

        def operator(features: Tensor, offsets: Tensor) -> Tensor:
            ones = features.new_ones(features.shape[1], 1, 1, 1)
            return torchvision.ops.deform_conv2d(features, offsets, ones)

        operator(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, 2))
        return operator
    except (ImportError, RuntimeError, OSError, AttributeError, NotImplementedError):
        return None


_OPERATORS: dict[str, tuple[Callable[[], Operator | None], str]] = {
    'mmcv': (_mmcv_operator, 'mmcv, the full one, not mmcv-lite'),
    'torchvision': (_torchvision_operator, 'a torchvision that fits torch'),
}


def sample_at_offsets(features: Tensor, offsets: Tensor, *, backend: Backend = 'auto') -> Tensor:
    """``out[b, c, y, x] = features[b, c, y + dy, x + dx]``, between cells bilinear.

    What lies outside the map is 0. A deformable convolution (Dai et al., ICCV 2017,
    equations 2 and 3) of one cell, whose weight is 1 and whose offsets each channel has for
    itself.

    Args:
        features: ``(B, C, H, W)``.
        offsets: ``(B, 2 C, H, W)`` in cells: dy and dx of the first channel, of the second ...
        backend: ``torch``: operations of torch alone. ``mmcv``, ``torchvision``: their
            deformable convolutions. ``auto``: the first of mmcv's and torchvision's that is
            installed, else torch; torch while a model is exported.

    Returns:
        ``(B, C, H, W)``, differentiable in both.

    Raises:
        ShapeError: If the shapes are not those.
        MissingDependencyError: If the backend asked for is not installed.
    """
    check_shape('features', features, 'B', 'C', 'H', 'W')
    b, c, h, w = features.shape
    check_shape('offsets', offsets, b, 2 * c, h, w)
    if backend not in get_args(Backend):
        raise ValueError(f'backend: expected {", ".join(get_args(Backend))}; got {backend!r}')
    if backend == 'auto' and torch.onnx.is_in_onnx_export():
        backend = 'torch'
    for name, (find, what) in _OPERATORS.items():
        if backend in ('auto', name):
            operator = find()
            if operator is not None:
                return operator(features.contiguous(), offsets.to(features).contiguous())
            if backend == name:
                raise MissingDependencyError(f'backend {name}: install {what}')
    return _by_grid_sample(features, offsets)


def _by_grid_sample(features: Tensor, offsets: Tensor) -> Tensor:
    """:func:`sample_at_offsets` in operations of torch."""
    b, c, h, w = features.shape
    dy, dx = offsets.to(features).reshape(b * c, 2, h, w).unbind(1)
    y = torch.arange(h, device=features.device, dtype=features.dtype)[:, None] + dy
    x = torch.arange(w, device=features.device, dtype=features.dtype) + dx
    # From -1 to 1 between the outer edges of the map.
    grid = torch.stack(((2 * x + 1) / w - 1, (2 * y + 1) / h - 1), dim=-1)  # (B C, H, W, 2)
    planes = features.reshape(b * c, 1, h, w)
    out = functional.grid_sample(planes, grid, padding_mode='zeros', align_corners=False)
    return out.reshape(b, c, h, w)
