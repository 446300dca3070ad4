"""The 24-convolution backbone of YOLOv1.

Shapes: B images; output i is ``(B, C_i, H / s_i, W / s_i)``, strides 2, 4, 8, 16, 32, 64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from torch import nn

from registry_losses.backbones.base import (
    DEFAULT_INIT,
    BaseBackbone,
    check_frozen_stages,
    check_out_indices,
)
from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS

# (kernel, stride, width) of each convolution, stage by stage; 'pool' halves the map.
Layer = tuple[int, int, int] | str
YOLOV1_STAGES: tuple[tuple[Layer, ...], ...] = (
    ((7, 2, 64),),
    ('pool', (3, 1, 192)),
    ('pool', (1, 1, 128), (3, 1, 256), (1, 1, 256), (3, 1, 512)),
    ('pool', *((1, 1, 256), (3, 1, 512)) * 4, (1, 1, 512), (3, 1, 1024)),
    ('pool', *((1, 1, 512), (3, 1, 1024)) * 2, (3, 1, 1024)),
    ((3, 2, 1024), (3, 1, 1024), (3, 1, 1024)),
)


@MODELS.register_module()
class YOLOV1Darknet(BaseBackbone):
    """The convolutional layers of YOLOv1; the two fully connected ones are the head's.

    Redmon et al., You Only Look Once, 2016, section 2.1 and figure 3: 448 x 448 pixels
    become 7 x 7 cells at stride 64. The paper has no normalisation; batch norm is the
    default here, as in the authors' later weights, because training from scratch
    without it diverges easily. ``norm_cfg=False`` is the paper.

    Args:
        in_channels: Channels of the image.
        widen_factor: Multiplies every width (at least one channel), for small examples.
        out_indices: Which of the six stages to return, increasing: strides 2, 4, 8, 16,
            32 and 64.
        frozen_stages: -1 none, 0 the first convolution, k that and k stages.
        norm_cfg: Normalisation layer (mmcv's format); False for none.
        act_cfg: Activation layer; None is LeakyReLU with slope 0.1 (equation 2).
        norm_eval: Keep batch norm in eval mode while training.
        init_cfg: None is Kaiming normal for convolutions and 1 for norms.

    Raises:
        ConfigError: An option outside what is listed here.

    Example:
        >>> YOLOV1Darknet(widen_factor=0.25).out_channels
        (256,)
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (5,),
        frozen_stages: int = -1,
        norm_cfg: dict | bool | None = None,
        act_cfg: dict | None = None,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if widen_factor <= 0:
            raise ConfigError(f'widen_factor: expected a number above 0, got {widen_factor}')
        num_stages = len(YOLOV1_STAGES)
        super().__init__(
            frozen_stages=check_frozen_stages(frozen_stages, num_stages - 1),
            norm_eval=norm_eval,
            init_cfg=DEFAULT_INIT if init_cfg is None else init_cfg,
        )
        self.out_indices = check_out_indices(out_indices, num_stages)
        layers: dict[str, Any] = {
            'norm_cfg': {'type': 'BN'} if norm_cfg is None else norm_cfg or None,
            'act_cfg': act_cfg or {'type': 'LeakyReLU', 'negative_slope': 0.1},
        }
        channels, widths = in_channels, []
        for i, stage in enumerate(YOLOV1_STAGES, start=1):
            modules: list[nn.Module] = []
            for layer in stage:
                if isinstance(layer, str):
                    modules.append(nn.MaxPool2d(2, 2))
                    continue
                kernel, stride, width = layer
                width = max(1, round(width * widen_factor))
                modules.append(
                    ConvModule(
                        channels, width, kernel, stride=stride, padding=kernel // 2, **layers
                    )
                )
                channels = width
            self.add_module(f'stage{i}', nn.Sequential(*modules))
            widths.append(channels)
        self.stage_names = [f'stage{i + 1}' for i in range(num_stages)]
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple(2 ** (i + 1) for i in self.out_indices)
        self.freeze()
