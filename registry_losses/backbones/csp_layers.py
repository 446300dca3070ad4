"""Cross stage partial (CSP) layers, shared by the backbones and necks of the YOLOs and RTMDet.

Shapes: ``(B, C, H, W)`` throughout; every layer keeps H and W.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

# Ultralytics' settings, which its released weights depend on.
YOLOV5_NORM: dict[str, Any] = {'type': 'BN', 'momentum': 0.03, 'eps': 0.001}
YOLOV5_ACT: dict[str, Any] = {'type': 'SiLU', 'inplace': True}
# PyTorch's own default of nn.Conv2d, which YOLOv4-CSP and YOLOv5 train from.
TORCH_CONV_INIT: dict[str, Any] = {
    'type': 'Kaiming',
    'layer': 'Conv2d',
    'a': math.sqrt(5),
    'distribution': 'uniform',
    'mode': 'fan_in',
    'nonlinearity': 'leaky_relu',
}


def make_divisible(channels: float, factor: float = 1.0, divisor: int = 8) -> int:
    """``channels * factor`` rounded up to a multiple of ``divisor``."""
    return -int(-(channels * factor) // divisor) * divisor


def make_round(depth: int, factor: float = 1.0) -> int:
    """``depth * factor`` rounded, at least 1; a depth of 0 or 1 stays as it is."""
    return max(round(depth * factor), 1) if depth > 1 else depth


def pool_pyramid(x: Tensor, kernel_sizes: Sequence[int]) -> Tensor:
    """``x`` and its max pools of stride 1, joined along the channels.

    He et al., Spatial Pyramid Pooling, 2014, in the form of YOLOv3-SPP. As a pool of 5
    applied twice covers 9 and thrice 13, increasing kernels are computed from one
    another where the difference is even.

    Args:
        x: ``(B, C, H, W)``.
        kernel_sizes: Odd sizes, increasing.

    Returns:
        ``(B, (1 + len(kernel_sizes)) * C, H, W)``.
    """
    maps, covered = [x], 1
    for size in kernel_sizes:
        step = size - covered + 1
        maps.append(F.max_pool2d(maps[-1], step, stride=1, padding=step // 2))
        covered = size
    return torch.cat(maps, dim=1)


class DarknetBottleneck(nn.Module):
    """1x1 then 3x3 convolution of one width, with or without the input added."""

    def __init__(
        self, channels: int, *, add_identity: bool, norm_cfg: dict | None, act_cfg: dict
    ) -> None:
        super().__init__()
        layers: dict[str, Any] = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        self.conv1 = ConvModule(channels, channels, 1, **layers)
        self.conv2 = ConvModule(channels, channels, 3, padding=1, **layers)
        self.add_identity = add_identity

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same shape."""
        out = self.conv2(self.conv1(x))
        return out + x if self.add_identity else out


class ChannelAttention(nn.Module):
    """Each channel times a hard sigmoid of a linear map of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same shape."""
        mean = x.float().mean(dim=(2, 3), keepdim=True)  # half precision overflows in the sum
        return x * self.act(self.fc(mean.to(x.dtype)))


class CSPLayer(nn.Module):
    """``final(attention(cat(blocks(main(x)), short(x))))``, each branch half as wide as the output.

    Wang et al., CSPNet, 2020, section 3.1, in YOLOv5's form ("C3": no transition after
    the blocks). Parameter names are OpenMMLab's.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        num_blocks: Blocks of the main branch.
        add_identity: Whether a block adds its input.
        block: :class:`DarknetBottleneck`, or a class that is built as it is.
        attention: Whether channels are weighted before the last convolution.
        norm_cfg: Normalisation layer (mmcv's format), None for none.
        act_cfg: Activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        *,
        add_identity: bool,
        block: Callable[..., nn.Module] = DarknetBottleneck,
        attention: bool = False,
        norm_cfg: dict | None,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        layers: dict[str, Any] = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        mid = out_channels // 2
        self.main_conv = ConvModule(in_channels, mid, 1, **layers)
        self.short_conv = ConvModule(in_channels, mid, 1, **layers)
        self.final_conv = ConvModule(2 * mid, out_channels, 1, **layers)
        self.blocks = nn.Sequential(
            *(block(mid, add_identity=add_identity, **layers) for _ in range(num_blocks))
        )
        self.attention = ChannelAttention(2 * mid) if attention else None

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
        both = torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), dim=1)
        return self.final_conv(both if self.attention is None else self.attention(both))


class SPPBottleneck(nn.Module):
    """1x1 to half the width, pools of 5, 9 and 13 (:func:`pool_pyramid`), 1x1."""

    def __init__(
        self, in_channels: int, out_channels: int, *, norm_cfg: dict | None, act_cfg: dict
    ) -> None:
        super().__init__()
        layers: dict[str, Any] = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        mid = in_channels // 2
        self.conv1 = ConvModule(in_channels, mid, 1, **layers)
        self.conv2 = ConvModule(4 * mid, out_channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
        return self.conv2(pool_pyramid(self.conv1(x), (5, 9, 13)))
