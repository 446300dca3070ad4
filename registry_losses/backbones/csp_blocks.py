"""The stem of YOLOX, and the block of RTMDet's CSP layers.

Shapes: ``(B, C, H, W)`` throughout; :class:`CSPNeXtBlock` keeps H and W.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from torch import Tensor, nn


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
