"""The necks of YOLOX and RTMDet: top-down, then bottom-up, a CSP layer after each merge.

Shapes: B images; inputs and outputs shallow to deep, output i as large as input i.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from registry_losses.backbones.csp_blocks import CSPNeXtBlock
from registry_losses.backbones.csp_layers import (
    TORCH_CONV_INIT,
    YOLOV5_ACT,
    YOLOV5_NORM,
    CSPLayer,
    DarknetBottleneck,
)
from registry_losses.errors import ConfigError
from registry_losses.necks.base import check_levels, upsample_like
from registry_losses.registry import MODELS


class CSPPathAggregation(BaseModule):
    """A path aggregation network: maps of two levels are merged, then run through a CSP layer.

    Its two subclasses say of which blocks.

    Args:
        in_channels: Widths of the backbone's outputs.
        out_channels: Width of every output.
        num_csp_blocks: Blocks of each CSP layer.
        norm_cfg: Normalisation layer; None is batch norm with eps 0.001, momentum 0.03.
        act_cfg: Activation; None is SiLU.
        init_cfg: None is PyTorch's default for convolutions.

    Raises:
        ConfigError: Fewer than two levels.
    """

    block: type[nn.Module] = DarknetBottleneck
    out_kernel = 1

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        *,
        num_csp_blocks: int = 3,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=TORCH_CONV_INIT if init_cfg is None else init_cfg)
        if len(in_channels) < 2:
            raise ConfigError(f'in_channels: expected at least two levels, got {in_channels}')
        widths = self.in_channels = tuple(in_channels)
        self.out_channels = (out_channels,) * len(widths)
        layers: dict[str, Any] = {
            'norm_cfg': norm_cfg or YOLOV5_NORM,
            'act_cfg': act_cfg or YOLOV5_ACT,
        }

        def merge(inside: int, outside: int) -> CSPLayer:
            return CSPLayer(
                inside,
                outside,
                num_csp_blocks,
                block=self.block,
                add_identity=False,
                **layers,
            )

        deep_to_shallow = range(len(widths) - 1, 0, -1)
        self.reduce_layers = nn.ModuleList(
            ConvModule(widths[i], widths[i - 1], 1, **layers) for i in deep_to_shallow
        )
        self.top_down_blocks = nn.ModuleList(
            merge(2 * widths[i - 1], widths[i - 1]) for i in deep_to_shallow
        )
        self.downsamples = nn.ModuleList(
            ConvModule(width, width, 3, stride=2, padding=1, **layers) for width in widths[:-1]
        )
        self.bottom_up_blocks = nn.ModuleList(
            merge(2 * fine, coarse) for fine, coarse in itertools.pairwise(widths)
        )
        kernel = self.out_kernel
        self.out_convs = nn.ModuleList(
            ConvModule(width, out_channels, kernel, padding=kernel // 2, **layers)
            for width in widths
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps, shallow to deep, to maps of the same sizes."""
        check_levels(type(self).__name__, inputs, self.in_channels)
        inner = [inputs[-1]]
        for reduce, block, fine in zip(
            self.reduce_layers, self.top_down_blocks, inputs[-2::-1], strict=True
        ):
            inner[0] = reduce(inner[0])
            inner.insert(0, block(torch.cat((upsample_like(inner[0], fine), fine), dim=1)))
        outs = [inner[0]]
        for down, block, coarse in zip(
            self.downsamples, self.bottom_up_blocks, inner[1:], strict=True
        ):
            outs.append(block(torch.cat((down(outs[-1]), coarse), dim=1)))
        return tuple(conv(x) for conv, x in zip(self.out_convs, outs, strict=True))


@MODELS.register_module()
class YOLOXPAFPN(CSPPathAggregation):
    """YOLOX's neck: Darknet's bottlenecks after each merge, 1x1 convolutions to the outputs.

    Ge et al., YOLOX, arXiv:2107.08430, section 2.2, after Liu et al., Path Aggregation
    Network, 2018. Parameter names are OpenMMLab's. Arguments: :class:`CSPPathAggregation`.

    Example:
        >>> YOLOXPAFPN([64, 128], 64, num_csp_blocks=1).out_channels
        (64, 64)
    """


@MODELS.register_module()
class CSPNeXtPAFPN(CSPPathAggregation):
    """RTMDet's neck: large depthwise kernels after each merge, 3x3 convolutions to the outputs.

    Lyu et al., RTMDet, arXiv:2212.07784, section 3.2. Parameter names are OpenMMLab's.
    Arguments: :class:`CSPPathAggregation`.

    Example:
        >>> CSPNeXtPAFPN([64, 128], 64, num_csp_blocks=1).out_channels
        (64, 64)
    """

    block = CSPNeXtBlock
    out_kernel = 3
