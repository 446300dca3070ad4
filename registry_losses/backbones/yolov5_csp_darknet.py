"""The backbone of YOLOv5.

Shapes: B images; stage i works at stride ``2^(i+1)``, the stem (index 0) at 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from torch import nn

from registry_losses.backbones.base import (
    BaseBackbone,
    check_choice,
    check_frozen_stages,
    check_out_indices,
)
from registry_losses.backbones.csp_layers import (
    TORCH_CONV_INIT,
    YOLOV5_ACT,
    YOLOV5_NORM,
    CSPLayer,
    SPPBottleneck,
    make_divisible,
    make_round,
)
from registry_losses.registry import MODELS


@MODELS.register_module()
class YOLOv5CSPDarknet(BaseBackbone):
    """Strided convolutions and CSP layers; the last stage ends with pooled maps (SPPF).

    Ultralytics YOLOv5 release 6.0; CSP layers by Wang et al., CSPNet, 2020. Parameter
    names are MMYOLO's.

    Args:
        arch: ``P5`` (strides to 32) or ``P6`` (to 64).
        deepen_factor: Multiplies the number of blocks (n and s: 0.33, m: 0.67, l: 1,
            x: 1.33).
        widen_factor: Multiplies the widths (n: 0.25, s: 0.5, m: 0.75, l: 1, x: 1.25).
        input_channels: Channels of the image.
        out_indices: Which stages to return, increasing; 0 is the stem.
        frozen_stages: -1 none, 0 the stem, k the stem and k stages.
        norm_cfg: Normalisation layer; None is batch norm with eps 0.001, momentum 0.03.
        act_cfg: Activation; None is SiLU.
        norm_eval: Keep batch norm in eval mode while training.
        init_cfg: None is PyTorch's default for convolutions.

    Raises:
        ConfigError: An option outside what is listed here.

    Example:
        >>> YOLOv5CSPDarknet(deepen_factor=0.33, widen_factor=0.5).out_channels
        (128, 256, 512)
    """

    # Width and number of blocks of each stage after the stem.
    archs: dict[str, tuple[tuple[int, int], ...]] = {
        'P5': ((128, 3), (256, 6), (512, 9), (1024, 3)),
        'P6': ((128, 3), (256, 6), (512, 9), (768, 3), (1024, 3)),
    }

    def __init__(
        self,
        arch: str = 'P5',
        *,
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        input_channels: int = 3,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_choice('arch', arch, self.archs)
        stages = self.archs[arch]
        super().__init__(
            frozen_stages=check_frozen_stages(frozen_stages, len(stages)),
            norm_eval=norm_eval,
            init_cfg=TORCH_CONV_INIT if init_cfg is None else init_cfg,
        )
        self.out_indices = check_out_indices(out_indices, len(stages) + 1)
        layers: dict[str, Any] = {
            'norm_cfg': norm_cfg or YOLOV5_NORM,
            'act_cfg': act_cfg or YOLOV5_ACT,
        }
        channels = make_divisible(64, widen_factor)
        self.stem = ConvModule(input_channels, channels, 6, stride=2, padding=2, **layers)
        widths, self.stage_names = [channels], ['stem']
        for i, (width, depth) in enumerate(stages, start=1):
            width = make_divisible(width, widen_factor)
            modules: list[nn.Module] = [
                ConvModule(channels, width, 3, stride=2, padding=1, **layers),
                CSPLayer(
                    width, width, make_round(depth, deepen_factor), add_identity=True, **layers
                ),
            ]
            if i == len(stages):
                modules.append(SPPBottleneck(width, width, **layers))
            self.add_module(f'stage{i}', nn.Sequential(*modules))
            self.stage_names.append(f'stage{i}')
            widths.append(width)
            channels = width
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple(2 ** (i + 1) for i in self.out_indices)
        self.freeze()
