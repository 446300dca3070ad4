"""SSD's extra feature layers and the normalisation of conv4_3.

Shapes: B images; SSD300 gives maps of 38, 19, 10, 5, 3 and 1 cells a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from registry_losses.errors import ConfigError
from registry_losses.necks.base import check_levels
from registry_losses.registry import MODELS


def l2_norm(x: Tensor, weight: Tensor, eps: float = 1e-10) -> Tensor:
    """``weight_c * x_c / max(|x|_2, eps)``, the norm over the channels of each cell.

    Liu et al., ParseNet, 2015. Computed in float32: in half precision the
    sum of 512 squares overflows. A cell of zeros has a finite gradient.

    Args:
        x: ``(B, C, H, W)``.
        weight: ``(C,)``, the learnt scale.
        eps: Smallest norm to divide by.

    Returns:
        ``(B, C, H, W)`` in ``x``'s dtype.
    """
    unit = F.normalize(x.float(), dim=1, eps=eps)
    return (weight.float()[:, None, None] * unit).to(x.dtype)


class L2Norm(nn.Module):
    """:func:`l2_norm` with a learnt scale for each channel, ``(C,)``, that starts at ``scale``."""

    def __init__(self, channels: int, scale: float = 20.0, *, eps: float = 1e-10) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), float(scale)))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape and dtype."""
        return l2_norm(x, self.weight, self.eps)


@MODELS.register_module()
class SSDNeck(BaseModule):
    """The backbone's maps, the first one normalised, then pairs of 1x1 and 3x3 convolutions.

    Liu et al., SSD: Single Shot MultiBox Detector, 2016, section 2.1, figure 2 and
    section 3.1 (the scale of 20 for conv4_3). Parameter names are OpenMMLab's.
    SSD512: ``out_channels=(512, 1024, 512, 256, 256, 256, 256), level_strides=(2, 2, 2,
    2, 1), level_paddings=(1, 1, 1, 1, 1), last_kernel_size=4``.

    Args:
        in_channels: Widths of the backbone's outputs.
        out_channels: Widths of all outputs; the first ones are ``in_channels``.
        level_strides: Stride of each extra level's 3x3 convolution.
        level_paddings: Its padding.
        l2_norm_scale: Where the scale of the first map's normalisation starts; None
            leaves that map as it is.
        last_kernel_size: Kernel of the last extra level (3 for 300, 4 for 512 pixels).
        conv_cfg: Convolution layer (mmcv's format).
        norm_cfg: Normalisation layer, None (the paper) for none.
        act_cfg: Activation; None is ReLU.
        init_cfg: None is Xavier uniform for convolutions and 1 for norms.

    Raises:
        ConfigError: Lists whose lengths or widths do not fit together.

    Example:
        >>> SSDNeck().out_channels
        (512, 1024, 512, 256, 256, 256)
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024),
        out_channels: Sequence[int] = (512, 1024, 512, 256, 256, 256),
        *,
        level_strides: Sequence[int] = (2, 2, 1, 1),
        level_paddings: Sequence[int] = (1, 1, 0, 0),
        l2_norm_scale: float | None = 20.0,
        last_kernel_size: int = 3,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            init_cfg=init_cfg
            or [
                {'type': 'Xavier', 'layer': 'Conv2d', 'distribution': 'uniform'},
                {'type': 'Constant', 'val': 1, 'layer': ['_BatchNorm', 'GroupNorm']},
            ]
        )
        num_extra = len(out_channels) - len(in_channels)
        if tuple(out_channels[: len(in_channels)]) != tuple(in_channels):
            raise ConfigError(
                f'out_channels: expected to start with in_channels = {tuple(in_channels)}, '
                f'got {tuple(out_channels)}'
            )
        if not len(level_strides) == len(level_paddings) == num_extra:
            raise ConfigError(
                f'level_strides, level_paddings: expected one entry for each of the {num_extra} '
                f'extra levels (len(out_channels) - len(in_channels)), got '
                f'{tuple(level_strides)} and {tuple(level_paddings)}'
            )
        self.in_channels = tuple(in_channels)
        self.out_channels = tuple(out_channels)
        if l2_norm_scale is not None:
            self.l2_norm: L2Norm | None = L2Norm(in_channels[0], l2_norm_scale)
        else:
            self.l2_norm = None
        layers: dict[str, Any] = {
            'conv_cfg': conv_cfg,
            'norm_cfg': norm_cfg,
            'act_cfg': act_cfg or {'type': 'ReLU'},
        }
        self.extra_layers = nn.ModuleList()
        for i in range(num_extra):
            wide, width = out_channels[len(in_channels) + i - 1 : len(in_channels) + i + 1]
            kernel = last_kernel_size if i == num_extra - 1 else 3
            self.extra_layers.append(
                nn.Sequential(
                    ConvModule(wide, width // 2, 1, **layers),
                    ConvModule(
                        width // 2,
                        width,
                        kernel,
                        stride=level_strides[i],
                        padding=level_paddings[i],
                        **layers,
                    ),
                )
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps to one map for each of ``out_channels``, fine to coarse."""
        check_levels('SSDNeck', inputs, self.in_channels)
        outs = list(inputs)
        if self.l2_norm is not None:
            outs[0] = self.l2_norm(outs[0])
        for layer in self.extra_layers:
            outs.append(layer(outs[-1]))
        return tuple(outs)
