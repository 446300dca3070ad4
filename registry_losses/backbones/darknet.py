"""Darknet-53, the backbone of YOLOv3.

Shapes: B images; block i works at stride ``2^i`` with ``32 * 2^i`` channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from registry_losses.backbones.base import (
    DEFAULT_INIT,
    BaseBackbone,
    check_choice,
    check_frozen_stages,
    check_out_indices,
)
from registry_losses.registry import MODELS


class ResBlock(nn.Module):
    """``x + conv3x3(conv1x1(x))``, the 1x1 halving the width; no activation after the sum."""

    def __init__(self, channels: int, *, norm_cfg: dict | None, act_cfg: dict) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvModule(channels, half, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv2 = ConvModule(half, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same shape."""
        return x + self.conv2(self.conv1(x))


@MODELS.register_module(name=['Darknet', 'Darknet53'])
class Darknet(BaseBackbone):
    """A 3x3 convolution, then five strided convolutions, each followed by residual blocks.

    Redmon and Farhadi, YOLOv3: An Incremental Improvement, 2018, table 1.

    Args:
        depth: 53, the only one the paper has.
        in_channels: Channels of the image.
        out_indices: Which blocks to return, increasing: 0 is the first convolution
            (stride 1), i the block at stride ``2^i``, 5 the last.
        frozen_stages: -1 none, 0 the first convolution, k that and k blocks. (mmdet
            counts the first convolution as a stage, so its k is k - 1 here.)
        norm_cfg: Normalisation layer (mmcv's format).
        act_cfg: Activation layer; None is LeakyReLU with slope 0.1.
        norm_eval: Keep batch norm in eval mode while training.
        init_cfg: None is Kaiming normal for convolutions and 1 for norms.

    Raises:
        ConfigError: An option outside what is listed here.

    Example:
        >>> Darknet(out_indices=(3, 4, 5)).out_channels
        (256, 512, 1024)
    """

    archs: dict[int, tuple[int, ...]] = {53: (1, 2, 8, 8, 4)}

    def __init__(
        self,
        depth: int = 53,
        *,
        in_channels: int = 3,
        out_indices: Sequence[int] = (3, 4, 5),
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        norm_eval: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_choice('depth', depth, self.archs)
        depths = self.archs[depth]
        super().__init__(
            frozen_stages=check_frozen_stages(frozen_stages, len(depths)),
            norm_eval=norm_eval,
            init_cfg=DEFAULT_INIT if init_cfg is None else init_cfg,
        )
        self.out_indices = check_out_indices(out_indices, len(depths) + 1)
        layers: dict[str, Any] = {
            'norm_cfg': norm_cfg or {'type': 'BN', 'requires_grad': True},
            'act_cfg': act_cfg or {'type': 'LeakyReLU', 'negative_slope': 0.1},
        }
        self.conv1 = ConvModule(in_channels, 32, 3, padding=1, **layers)
        self.stage_names = ['conv1']
        for i, num_blocks in enumerate(depths, start=1):
            channels = 32 * 2**i
            block = nn.Sequential()
            block.add_module(
                'conv', ConvModule(channels // 2, channels, 3, stride=2, padding=1, **layers)
            )
            for j in range(num_blocks):
                block.add_module(f'res{j}', ResBlock(channels, **layers))
            self.add_module(f'conv_res_block{i}', block)
            self.stage_names.append(f'conv_res_block{i}')
        self.out_channels = tuple(32 * 2**i for i in self.out_indices)
        self.out_strides = tuple(2**i for i in self.out_indices)
        self.freeze()
