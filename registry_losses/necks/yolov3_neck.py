"""YOLOv3's top-down neck.

Shapes: B images; inputs shallow to deep, outputs **deep to shallow** (stride 32 first).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from registry_losses.errors import ConfigError
from registry_losses.necks.base import check_levels, upsample_like
from registry_losses.registry import MODELS


class DetectionBlock(nn.Module):
    """Five convolutions, 1x1 to ``out_channels`` and 3x3 to twice that in turn."""

    def __init__(
        self, in_channels: int, out_channels: int, *, norm_cfg: dict | None, act_cfg: dict
    ) -> None:
        super().__init__()
        layers: dict[str, Any] = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        double = 2 * out_channels
        self.conv1 = ConvModule(in_channels, out_channels, 1, **layers)
        self.conv2 = ConvModule(out_channels, double, 3, padding=1, **layers)
        self.conv3 = ConvModule(double, out_channels, 1, **layers)
        self.conv4 = ConvModule(out_channels, double, 3, padding=1, **layers)
        self.conv5 = ConvModule(double, out_channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
        return self.conv5(self.conv4(self.conv3(self.conv2(self.conv1(x)))))


@MODELS.register_module()
class YOLOV3Neck(BaseModule):
    """Detection blocks from the deepest map up, each joined with the next finer map.

    Redmon and Farhadi, YOLOv3: An Incremental Improvement, 2018, section 2.3. Parameter
    names and the order deep to shallow are OpenMMLab's.

    Args:
        num_scales: Number of maps.
        in_channels: Widths of the backbone's outputs, **deep to shallow**.
        out_channels: Widths of the outputs, deep to shallow.
        norm_cfg: Normalisation layer (mmcv's format); None is batch norm.
        act_cfg: Activation; None is LeakyReLU with slope 0.1.
        init_cfg: Passed to MMEngine's BaseModule.

    Raises:
        ConfigError: Lists that do not have ``num_scales`` entries.

    Example:
        >>> len(YOLOV3Neck(3, [64, 32, 16], [32, 16, 8]).out_channels)
        3
    """

    def __init__(
        self,
        num_scales: int,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        *,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if not num_scales == len(in_channels) == len(out_channels):
            raise ConfigError(
                f'in_channels, out_channels: expected num_scales = {num_scales} entries each, '
                f'got {list(in_channels)} and {list(out_channels)}'
            )
        self.num_scales = num_scales
        self.in_channels = list(in_channels)
        self.out_channels = list(out_channels)
        layers: dict[str, Any] = {
            'norm_cfg': norm_cfg or {'type': 'BN', 'requires_grad': True},
            'act_cfg': act_cfg or {'type': 'LeakyReLU', 'negative_slope': 0.1},
        }
        self.detect1 = DetectionBlock(in_channels[0], out_channels[0], **layers)
        for i in range(1, num_scales):
            width = out_channels[i]
            self.add_module(f'conv{i}', ConvModule(out_channels[i - 1], width, 1, **layers))
            self.add_module(
                f'detect{i + 1}', DetectionBlock(in_channels[i] + width, width, **layers)
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps, shallow to deep, to as many maps, deep to shallow."""
        deep_first = list(inputs)[::-1]
        check_levels('YOLOV3Neck (maps listed deep to shallow)', deep_first, self.in_channels)
        outs = [self.detect1(deep_first[0])]
        for i in range(1, self.num_scales):
            up = upsample_like(getattr(self, f'conv{i}')(outs[-1]), deep_first[i])
            outs.append(getattr(self, f'detect{i + 1}')(torch.cat((up, deep_first[i]), dim=1)))
        return tuple(outs)
