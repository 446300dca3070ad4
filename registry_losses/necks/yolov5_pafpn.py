"""The neck of YOLOv5: top-down, then bottom-up.

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
    YOLOV5_ACT,
    YOLOV5_NORM,
    CSPLayer,
    make_divisible,
    make_round,
)
from registry_losses.errors import ConfigError
from registry_losses.necks.base import check_levels, upsample_like
from registry_losses.registry import MODELS


@MODELS.register_module()
class YOLOv5PAFPN(BaseModule):
    """A path aggregation network with a CSP layer after each merge of two levels.

    Ultralytics YOLOv5 release 6.0, after Liu et al., Path Aggregation Network, 2018.
    Parameter names are MMYOLO's.

    Args:
        in_channels: Widths of the backbone's outputs before ``widen_factor``.
        out_channels: Widths of the outputs before ``widen_factor``: ``in_channels``,
            which is also what None means.
        deepen_factor: Multiplies ``num_csp_blocks``.
        widen_factor: Multiplies the widths.
        num_csp_blocks: Blocks of each CSP layer.
        norm_cfg: Normalisation layer; None is batch norm with eps 0.001, momentum 0.03.
        act_cfg: Activation; None is SiLU.
        init_cfg: None is PyTorch's default for convolutions.

    Raises:
        ConfigError: Fewer than two levels, or ``out_channels`` unlike ``in_channels``.

    Example:
        >>> YOLOv5PAFPN([64, 128], num_csp_blocks=1).out_channels
        (64, 128)
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int] | None = None,
        *,
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        num_csp_blocks: int = 3,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=TORCH_CONV_INIT if init_cfg is None else init_cfg)
        if len(in_channels) < 2:
            raise ConfigError(f'in_channels: expected at least two levels, got {in_channels}')
        if out_channels is not None and list(out_channels) != list(in_channels):
            raise ConfigError(
                f'out_channels: this neck keeps the widths, expected {list(in_channels)} '
                f'(in_channels) or None, got {list(out_channels)}'
            )
        widths = [make_divisible(c, widen_factor) for c in in_channels]
        self.in_channels = tuple(widths)
        self.out_channels = tuple(widths)
        self.layer_cfg: dict[str, Any] = {
            'norm_cfg': norm_cfg or YOLOV5_NORM,
            'act_cfg': act_cfg or YOLOV5_ACT,
        }
        self.num_blocks = make_round(num_csp_blocks, deepen_factor)
        last = len(widths) - 1

        self.reduce_layers = nn.ModuleList(nn.Identity() for _ in range(last))
        self.reduce_layers.append(ConvModule(widths[last], widths[last - 1], 1, **self.layer_cfg))
        self.top_down_layers = nn.ModuleList()
        for i in range(last, 0, -1):
            merge: nn.Module = self._csp(2 * widths[i - 1], widths[i - 1])
            if i > 1:
                merge = nn.Sequential(
                    merge, ConvModule(widths[i - 1], widths[i - 2], 1, **self.layer_cfg)
                )
            self.top_down_layers.append(merge)
        self.downsample_layers = nn.ModuleList(
            ConvModule(width, width, 3, stride=2, padding=1, **self.layer_cfg)
            for width in widths[:last]
        )
        self.bottom_up_layers = nn.ModuleList(
            self._csp(2 * widths[i], widths[i + 1]) for i in range(last)
        )

    def _csp(self, in_channels: int, out_channels: int) -> CSPLayer:
        return CSPLayer(
            in_channels, out_channels, self.num_blocks, add_identity=False, **self.layer_cfg
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps, shallow to deep, to maps of the same sizes and widths."""
        check_levels('YOLOv5PAFPN', inputs, self.in_channels)
        reduced = [layer(x) for layer, x in zip(self.reduce_layers, inputs, strict=True)]
        inner = [reduced[-1]]
        for layer, fine in zip(self.top_down_layers, reduced[-2::-1], strict=True):
            inner.insert(0, layer(torch.cat((upsample_like(inner[0], fine), fine), dim=1)))
        outs = [inner[0]]
        for down, layer, coarse in zip(
            self.downsample_layers, self.bottom_up_layers, inner[1:], strict=True
        ):
            outs.append(layer(torch.cat((down(outs[-1]), coarse), dim=1)))
        return tuple(outs)
