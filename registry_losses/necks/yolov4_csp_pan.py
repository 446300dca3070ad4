"""The neck of YOLOv4-CSP: pooled pyramid, then top-down and bottom-up merges by CSP layers.

Shapes: B images; inputs and outputs shallow to deep, output i as large and wide as input i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from registry_losses.backbones.csp_layers import (
    TORCH_CONV_INIT,
    YOLOV5_NORM,
    make_divisible,
    make_round,
)
from registry_losses.backbones.yolov4_csp_darknet import CSPSPP, MISH, CSPMerge
from registry_losses.errors import ConfigError
from registry_losses.necks.base import check_levels, upsample_like
from registry_losses.registry import MODELS


@MODELS.register_module()
class YOLOv4CSPPAN(BaseModule):
    """SPP and a path aggregation network that merges levels by CSP layers, with Mish.

    Bochkovskiy et al., YOLOv4, 2020, section 3.4; Wang et al., Scaled-YOLOv4, 2021,
    section 4.1. Inside, every level has half its input's width; a 3x3 convolution at
    the end of each level doubles it. The parameter names are this project's.

    Args:
        in_channels: Widths of the backbone's outputs before ``widen_factor``.
        deepen_factor: Multiplies ``num_csp_blocks``.
        widen_factor: Multiplies the widths.
        num_csp_blocks: Blocks of each CSP layer.
        norm_cfg: Normalisation layer; None is batch norm with eps 0.001, momentum 0.03.
        act_cfg: Activation; None is Mish.
        init_cfg: None is PyTorch's default for convolutions.

    Raises:
        ConfigError: Fewer than two levels.

    Example:
        >>> YOLOv4CSPPAN([64, 128], num_csp_blocks=1).out_channels
        (64, 128)
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        num_csp_blocks: int = 2,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=TORCH_CONV_INIT if init_cfg is None else init_cfg)
        if len(in_channels) < 2:
            raise ConfigError(f'in_channels: expected at least two levels, got {in_channels}')
        self.in_channels = tuple(make_divisible(c, widen_factor) for c in in_channels)
        self.out_channels = self.in_channels
        layers: dict[str, Any] = {'norm_cfg': norm_cfg or YOLOV5_NORM, 'act_cfg': act_cfg or MISH}
        depth = make_round(num_csp_blocks, deepen_factor)
        mids = [width // 2 for width in self.in_channels]
        last = len(mids) - 1

        self.spp = CSPSPP(self.in_channels[last], mids[last], **layers)
        self.lateral_convs = nn.ModuleList(
            ConvModule(self.in_channels[i], mids[i], 1, **layers) for i in range(last)
        )
        self.upsample_convs = nn.ModuleList(
            ConvModule(mids[i + 1], mids[i], 1, **layers) for i in range(last)
        )
        self.top_down_layers = nn.ModuleList(
            CSPMerge(2 * mids[i], mids[i], depth, **layers) for i in range(last)
        )
        self.downsample_convs = nn.ModuleList(
            ConvModule(mids[i], mids[i + 1], 3, stride=2, padding=1, **layers) for i in range(last)
        )
        self.bottom_up_layers = nn.ModuleList(
            CSPMerge(2 * mids[i + 1], mids[i + 1], depth, **layers) for i in range(last)
        )
        self.out_convs = nn.ModuleList(
            ConvModule(mid, width, 3, padding=1, **layers)
            for mid, width in zip(mids, self.out_channels, strict=True)
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps, shallow to deep, to maps of the same sizes and widths."""
        check_levels('YOLOv4CSPPAN', inputs, self.in_channels)
        last = len(inputs) - 1
        inner = [self.spp(inputs[last])]
        for i in range(last - 1, -1, -1):
            fine = self.lateral_convs[i](inputs[i])
            coarse = upsample_like(self.upsample_convs[i](inner[0]), fine)
            inner.insert(0, self.top_down_layers[i](torch.cat((fine, coarse), dim=1)))
        outs = [inner[0]]
        for i in range(last):
            down = self.downsample_convs[i](outs[-1])
            outs.append(self.bottom_up_layers[i](torch.cat((down, inner[i + 1]), dim=1)))
        return tuple(conv(x) for conv, x in zip(self.out_convs, outs, strict=True))
