"""What the backbones and necks of YOLOX and RTMDet share: CSP layers of two kinds of blocks.

Shapes: ``(B, C, H, W)`` throughout; every layer but :class:`Focus` keeps H and W.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from torch import Tensor, nn

from registry_losses.backbones.csp_layers import DarknetBottleneck, pool_pyramid


class Focus(nn.Module):
    """Each 2x2 patch of pixels to one place of four times the channels, then a convolution."""

    def __init__(self, in_channels: int, out_channels: int, **layers: Any) -> None:
        super().__init__()
        self.conv = ConvModule(4 * in_channels, out_channels, 3, padding=1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, 2H, 2W)`` to ``(B, out_channels, H, W)``; an odd size counts as one more."""
        if x.shape[-1] % 2 or x.shape[-2] % 2:
            x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
        patches = (
            x[..., ::2, ::2],
            x[..., 1::2, ::2],
            x[..., ::2, 1::2],
            x[..., 1::2, 1::2],
        )
        return self.conv(torch.cat(patches, dim=1))


class SPPBottleneck(nn.Module):
    """1x1 to half the width, pools of 5, 9 and 13, 1x1."""

    def __init__(self, in_channels: int, out_channels: int, **layers: Any) -> None:
        super().__init__()
        mid = in_channels // 2
        self.conv1 = ConvModule(in_channels, mid, 1, **layers)
        self.conv2 = ConvModule(4 * mid, out_channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
        return self.conv2(pool_pyramid(self.conv1(x), (5, 9, 13)))


class CSPNeXtBlock(nn.Module):
    """3x3, then a depthwise 5x5 and a pointwise convolution; the input may be added.

    Lyu et al., RTMDet, arXiv:2212.07784, section 3.2: large depthwise kernels.
    """

    def __init__(self, channels: int, *, add_identity: bool, **layers: Any) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels, 3, padding=1, **layers)
        self.conv2 = DepthwiseSeparableConvModule(channels, channels, 5, padding=2, **layers)
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


class CSPBlocks(nn.Module):
    """``final(attention(cat(blocks(main(x)), short(x))))``, each branch half as wide.

    Wang et al., CSPNet, 2020. Parameter names are OpenMMLab's ``CSPLayer``.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        num_blocks: Blocks of the main branch.
        next_block: :class:`CSPNeXtBlock` in place of Darknet's bottleneck.
        add_identity: Whether a block adds its input.
        attention: Whether channels are weighed before the last convolution.
        norm_cfg, act_cfg: As in mmcv.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        *,
        next_block: bool = False,
        add_identity: bool = True,
        attention: bool = False,
        **layers: Any,
    ) -> None:
        super().__init__()
        mid = out_channels // 2
        block: Any = CSPNeXtBlock if next_block else DarknetBottleneck
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
