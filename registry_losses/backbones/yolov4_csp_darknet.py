"""CSPDarknet-53, the backbone of YOLOv4 and of YOLOv4-CSP.

Shapes: B images; block i works at stride ``2^i`` with ``32 * 2^i`` channels before widening.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from registry_losses.backbones.base import BaseBackbone, check_frozen_stages, check_out_indices
from registry_losses.backbones.csp_layers import (
    TORCH_CONV_INIT,
    YOLOV5_NORM,
    DarknetBottleneck,
    make_divisible,
    make_round,
    pool_pyramid,
)
from registry_losses.backbones.darknet import ResBlock
from registry_losses.registry import MODELS

# The class itself: mmcv registers no activation of that name.
MISH: dict[str, Any] = {'type': nn.Mish, 'inplace': True}


class CSPStage(nn.Module):
    """``final(cat(tail(blocks(main(x))), short(x)))``: a CSP layer with a transition.

    Wang et al., CSPNet, 2020, section 3.1, figure 3 (the "fusion last" form has no tail).
    """

    def __init__(
        self, channels: int, num_blocks: int, *, norm_cfg: dict | None, act_cfg: dict
    ) -> None:
        super().__init__()
        layers: dict[str, Any] = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        mid = channels // 2
        self.main_conv = ConvModule(channels, mid, 1, **layers)
        self.blocks = nn.Sequential(
            *(DarknetBottleneck(mid, add_identity=True, **layers) for _ in range(num_blocks))
        )
        self.tail_conv = ConvModule(mid, mid, 1, **layers)
        self.short_conv = ConvModule(channels, mid, 1, **layers)
        self.final_conv = ConvModule(2 * mid, channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same shape."""
        main = self.tail_conv(self.blocks(self.main_conv(x)))
        return self.final_conv(torch.cat((main, self.short_conv(x)), dim=1))


class CSPMerge(nn.Module):
    """A CSP layer that merges two levels of a neck: a 1x1 before the split, no transition.

    Its blocks do not add their input.

    Wang et al., Scaled-YOLOv4, 2021, section 4.1 (the CSP-ized PAN).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_blocks: int,
        *,
        norm_cfg: dict | None,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        layers: dict[str, Any] = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        self.pre_conv = ConvModule(in_channels, channels, 1, **layers)
        self.blocks = nn.Sequential(
            *(DarknetBottleneck(channels, add_identity=False, **layers) for _ in range(num_blocks))
        )
        self.short_conv = ConvModule(channels, channels, 1, **layers)
        self.final_conv = ConvModule(2 * channels, channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, channels, H, W)``."""
        x = self.pre_conv(x)
        return self.final_conv(torch.cat((self.blocks(x), self.short_conv(x)), dim=1))


class CSPSPP(nn.Module):
    """Spatial pyramid pooling (5, 9, 13) on one branch of a CSP layer.

    Bochkovskiy et al., YOLOv4, 2020, section 3.4 (SPP); its CSP form from Scaled-YOLOv4.
    """

    def __init__(
        self, in_channels: int, channels: int, *, norm_cfg: dict | None, act_cfg: dict
    ) -> None:
        super().__init__()
        layers: dict[str, Any] = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        self.main_conv = nn.Sequential(
            ConvModule(in_channels, channels, 1, **layers),
            ConvModule(channels, channels, 3, padding=1, **layers),
            ConvModule(channels, channels, 1, **layers),
        )
        self.pooled_conv = nn.Sequential(
            ConvModule(4 * channels, channels, 1, **layers),
            ConvModule(channels, channels, 3, padding=1, **layers),
        )
        self.short_conv = ConvModule(in_channels, channels, 1, **layers)
        self.final_conv = ConvModule(2 * channels, channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, channels, H, W)``."""
        main = self.pooled_conv(pool_pyramid(self.main_conv(x), (5, 9, 13)))
        return self.final_conv(torch.cat((main, self.short_conv(x)), dim=1))


@MODELS.register_module()
class YOLOv4CSPDarknet(BaseBackbone):
    """Darknet-53 whose stages are CSP layers with Mish.

    Bochkovskiy et al., YOLOv4, 2020, section 3.4; Wang et al., Scaled-YOLOv4, 2021,
    section 4.1: the first stage is an ordinary residual block. The parameter names are
    this project's: there is no published OpenMMLab checkpoint of it.

    Args:
        deepen_factor: Multiplies the number of blocks (1, 2, 8, 8, 4).
        widen_factor: Multiplies the widths.
        in_channels: Channels of the image.
        out_indices: Which blocks to return, increasing: 0 is the stem (stride 1), i the
            stage at stride ``2^i``.
        frozen_stages: -1 none, 0 the stem, k the stem and k stages.
        norm_cfg: Normalisation layer; None is batch norm with eps 0.001, momentum 0.03.
        act_cfg: Activation; None is Mish.
        norm_eval: Keep batch norm in eval mode while training.
        init_cfg: None is PyTorch's default for convolutions.

    Raises:
        ConfigError: An option outside what is listed here.

    Example:
        >>> YOLOv4CSPDarknet(deepen_factor=0.33, widen_factor=0.25).out_channels
        (64, 128, 256)
    """

    depths = (1, 2, 8, 8, 4)

    def __init__(
        self,
        *,
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        in_channels: int = 3,
        out_indices: Sequence[int] = (3, 4, 5),
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            frozen_stages=check_frozen_stages(frozen_stages, len(self.depths)),
            norm_eval=norm_eval,
            init_cfg=TORCH_CONV_INIT if init_cfg is None else init_cfg,
        )
        self.out_indices = check_out_indices(out_indices, len(self.depths) + 1)
        layers: dict[str, Any] = {'norm_cfg': norm_cfg or YOLOV5_NORM, 'act_cfg': act_cfg or MISH}
        widths = [make_divisible(32 * 2**i, widen_factor) for i in range(len(self.depths) + 1)]
        self.stem = ConvModule(in_channels, widths[0], 3, padding=1, **layers)
        self.stage_names = ['stem']
        for i, depth in enumerate(self.depths, start=1):
            down = ConvModule(widths[i - 1], widths[i], 3, stride=2, padding=1, **layers)
            body: nn.Module = (
                ResBlock(widths[i], **layers)
                if i == 1
                else CSPStage(widths[i], make_round(depth, deepen_factor), **layers)
            )
            self.add_module(f'stage{i}', nn.Sequential(down, body))
            self.stage_names.append(f'stage{i}')
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple(2**i for i in self.out_indices)
        self.freeze()
