"""The backbones of YOLOX (CSPDarknet) and RTMDet (CSPNeXt).

Shapes: B images; stage i works at stride ``2^(i+1)``, the stem (index 0) at 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from torch import nn

from registry_losses.backbones.base import BaseBackbone, check_frozen_stages, check_out_indices
from registry_losses.backbones.csp_blocks import CSPNeXtBlock, Focus
from registry_losses.backbones.csp_layers import (
    TORCH_CONV_INIT,
    YOLOV5_ACT,
    YOLOV5_NORM,
    CSPLayer,
    DarknetBottleneck,
    SPPBottleneck,
)
from registry_losses.registry import MODELS


class CSPBackbone(BaseBackbone):
    """A stem, then stages of a strided convolution and a CSP layer; pools before the last.

    A subclass gives :meth:`_stem`, :attr:`blocks` (how many, stage by stage),
    :attr:`block` (of which class) and :attr:`attention` (the default of
    ``channel_attention``).

    Args:
        deepen_factor: Multiplies the number of blocks.
        widen_factor: Multiplies the widths.
        out_indices: Which stages to return, increasing; 0 is the stem.
        frozen_stages: -1 none, 0 the stem, k the stem and k stages.
        channel_attention: Whether CSP layers weigh their channels; None is the default of
            the class, True for CSPNeXt and False for CSPDarknet.
        norm_cfg: Normalisation layer; None is batch norm with eps 0.001, momentum 0.03.
        act_cfg: Activation; None is SiLU.
        norm_eval: Keep batch norm in eval mode while training.
        init_cfg: None is PyTorch's default for convolutions.

    Raises:
        ConfigError: An option outside what is listed here.
    """

    widths = (128, 256, 512, 1024)
    blocks: tuple[int, ...] = (3, 9, 9, 3)
    block: type[nn.Module] = DarknetBottleneck
    attention = False

    def __init__(
        self,
        *,
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        channel_attention: bool | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            frozen_stages=check_frozen_stages(frozen_stages, len(self.widths)),
            norm_eval=norm_eval,
            init_cfg=TORCH_CONV_INIT if init_cfg is None else init_cfg,
        )
        self.out_indices = check_out_indices(out_indices, len(self.widths) + 1)
        layers: dict[str, Any] = {
            'norm_cfg': norm_cfg or YOLOV5_NORM,
            'act_cfg': act_cfg or YOLOV5_ACT,
        }
        attention = self.attention if channel_attention is None else channel_attention
        channels = int(64 * widen_factor)
        self.stem = self._stem(channels, layers)
        widths, self.stage_names = [channels], ['stem']
        for i, (width, depth) in enumerate(zip(self.widths, self.blocks, strict=True), start=1):
            width, last = int(width * widen_factor), i == len(self.widths)
            modules: list[nn.Module] = [
                ConvModule(channels, width, 3, stride=2, padding=1, **layers)
            ]
            if last:
                modules.append(SPPBottleneck(width, width, **layers))
            modules.append(
                CSPLayer(
                    width,
                    width,
                    max(round(depth * deepen_factor), 1),
                    block=self.block,
                    add_identity=not last,
                    attention=attention,
                    **layers,
                )
            )
            self.add_module(f'stage{i}', nn.Sequential(*modules))
            self.stage_names.append(f'stage{i}')
            widths.append(width)
            channels = width
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple(2 ** (i + 1) for i in self.out_indices)
        self.freeze()

    def _stem(self, channels: int, layers: dict[str, Any]) -> nn.Module:
        raise NotImplementedError


@MODELS.register_module()
class CSPDarknet(CSPBackbone):
    """YOLOX's backbone: a focus stem and Darknet's bottlenecks in CSP layers.

    Ge et al., YOLOX, arXiv:2107.08430, section 2.2; CSP layers by Wang et al., CSPNet, 2020.
    Parameter names are OpenMMLab's.

    Args:
        deepen_factor: Multiplies the number of blocks (tiny and s: 0.33, m: 0.67, l: 1).
        widen_factor: Multiplies the widths (tiny: 0.375, s: 0.5, m: 0.75, l: 1).

    Other arguments, errors: :class:`CSPBackbone`.

    Example:
        >>> CSPDarknet(deepen_factor=0.33, widen_factor=0.5).out_channels
        (128, 256, 512)
    """

    def _stem(self, channels: int, layers: dict[str, Any]) -> nn.Module:
        return Focus(3, channels, **layers)


@MODELS.register_module()
class CSPNeXt(CSPBackbone):
    """RTMDet's backbone: three convolutions, then large depthwise kernels in CSP layers.

    Lyu et al., RTMDet, arXiv:2212.07784, section 3.2. Parameter names are OpenMMLab's.

    Args:
        deepen_factor: Multiplies the number of blocks (tiny: 0.167, s: 0.33, l: 1).
        widen_factor: Multiplies the widths (tiny: 0.375, s: 0.5, l: 1).

    Other arguments, errors: :class:`CSPBackbone`.

    Example:
        >>> CSPNeXt(deepen_factor=0.167, widen_factor=0.375).out_channels
        (96, 192, 384)
    """

    blocks = (3, 6, 6, 3)
    block = CSPNeXtBlock
    attention = True

    def _stem(self, channels: int, layers: dict[str, Any]) -> nn.Module:
        half = channels // 2
        return nn.Sequential(
            ConvModule(3, half, 3, stride=2, padding=1, **layers),
            ConvModule(half, half, 3, padding=1, **layers),
            ConvModule(half, channels, 3, padding=1, **layers),
        )
