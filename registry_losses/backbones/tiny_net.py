"""A small residual network for training on a CPU.

Shapes: B images; output i is ``(B, widths[i], ceil(H / s_i), ceil(W / s_i))``, strides 4, 8, 16 ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from registry_losses.backbones.base import (
    DEFAULT_INIT,
    BaseBackbone,
    check_frozen_stages,
    check_out_indices,
    check_same_length,
)
from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS


class TinyBlock(nn.Module):
    """``act(x + conv(conv(x)))`` with two 3x3 convolutions of one width."""

    def __init__(self, channels: int, *, norm_cfg: dict, act_cfg: dict) -> None:
        super().__init__()
        self.conv1 = ConvModule(
            channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg
        )
        self.conv2 = ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None)
        # The block ends with the activation that its first convolution uses.
        self.act = self.conv1.activate

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same shape."""
        return self.act(x + self.conv2(self.conv1(x)))


@MODELS.register_module()
class TinyNet(BaseBackbone):
    """Pixel-unshuffle, a strided convolution, then stages of residual blocks.

    A design of this project, for examples that train in minutes on one or two CPU
    cores: the unshuffle keeps every input pixel while no convolution runs above
    stride 4, where a CPU would spend most of its time. Blocks follow He et al. 2016,
    figure 2.

    The stem rearranges 2 x 2 pixels into channels (an odd height or width gets one
    row or column of zeros) and convolves 3x3 with stride 2 to stride 4. Stage 0 works
    at stride 4; each further stage starts with a 3x3 convolution of stride 2.

    Args:
        in_channels: Channels of the image.
        widths: Channels of each stage; the stem has the first stage's. A fourth entry
            adds a stage at stride 32, and so on.
        depths: Residual blocks of each stage, one entry a stage.
        out_indices: Which stages to return, increasing; None is all of them.
        frozen_stages: -1 none, 0 the stem, k the stem and k stages.
        norm_cfg: Normalisation layer (mmcv's format).
        act_cfg: Activation layer.
        norm_eval: Keep batch norm in eval mode while training.
        init_cfg: None is Kaiming normal for convolutions and 1 for norms.

    Raises:
        ConfigError: Lists of different lengths, an index or depth out of range.

    Example:
        >>> TinyNet().out_strides
        (4, 8, 16)
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        widths: Sequence[int] = (32, 64, 128),
        depths: Sequence[int] = (1, 2, 2),
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        num_stages = check_same_length(widths=widths, depths=depths)
        if min(depths) < 0 or min(widths) < 1:
            raise ConfigError(
                f'expected depths >= 0 and widths >= 1, got {list(depths)} and {list(widths)}'
            )
        super().__init__(
            frozen_stages=check_frozen_stages(frozen_stages, num_stages),
            norm_eval=norm_eval,
            init_cfg=DEFAULT_INIT if init_cfg is None else init_cfg,
        )
        self.out_indices = check_out_indices(
            range(num_stages) if out_indices is None else out_indices, num_stages
        )
        norm_cfg = norm_cfg or {'type': 'BN'}
        act_cfg = act_cfg or {'type': 'ReLU'}
        layers: dict[str, Any] = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        self.stem = ConvModule(4 * in_channels, widths[0], 3, stride=2, padding=1, **layers)
        channels = widths[0]
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            modules: list[nn.Module] = []
            if i > 0:
                modules.append(ConvModule(channels, width, 3, stride=2, padding=1, **layers))
            modules += [TinyBlock(width, **layers) for _ in range(depth)]
            self.add_module(f'stage{i + 1}', nn.Sequential(*modules))
            channels = width
        self.stage_names = [f'stage{i + 1}' for i in range(num_stages)]
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.freeze()

    def stages(self) -> list[Sequence[nn.Module]]:
        """The stem and each stage."""
        return [(self.stem,), *((getattr(self, name),) for name in self.stage_names)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, in_channels, H, W)`` to one map for each of ``out_indices``."""
        height, width = x.shape[-2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        x = self.stem(F.pixel_unshuffle(x, 2))
        return self.run_stages(x, self.stage_names, self.out_indices)
