"""VGG as SSD uses it: fc6 and fc7 become convolutions.

Shapes: B images; for SSD300 the outputs are ``(B, 512, 38, 38)`` and ``(B, 1024, 19, 19)``.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import VGG
from mmcv.cnn.vgg import make_vgg_layer
from torch import Tensor, nn

from registry_losses.backbones.base import (
    DEFAULT_INIT,
    BaseBackbone,
    check_choice,
    check_frozen_stages,
    check_out_indices,
    split_at,
)
from registry_losses.registry import MODELS


@MODELS.register_module()
class SSDVGG(BaseBackbone):
    """VGG whose pool5 is 3x3 with stride 1, fc6 a dilated 3x3 and fc7 a 1x1 convolution.

    Liu et al., SSD: Single Shot MultiBox Detector, 2016, section 3: fc6 has dilation 6 (the
    "a trous" algorithm) and 1024 channels, as the subsampled fc7. Names count the
    layers of one ``features`` list, as torchvision's and OpenMMLab's VGG weights do.

    Args:
        depth: 11, 13, 16 (the paper's) or 19.
        with_last_pool: Keep VGG's own pool5 (2x2, stride 2) as well.
        ceil_mode: Round the size up in VGG's pools, so that 75 becomes 38 (SSD300's
            grid of 38 x 38).
        out_feature_indices: Which layers of ``features`` to return, increasing; with
            VGG-16, 22 is conv4_3 and 34 fc7, both after their ReLU.
        frozen_stages: -1 or 0 none, k the first k of the five stages.
        init_cfg: None is Kaiming normal for convolutions.

    Raises:
        ConfigError: An option outside what is listed here.

    Example:
        >>> SSDVGG(16).out_channels
        (512, 1024)
    """

    def __init__(
        self,
        depth: int = 16,
        *,
        with_last_pool: bool = False,
        ceil_mode: bool = True,
        out_feature_indices: Sequence[int] = (22, 34),
        frozen_stages: int = -1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_choice('depth', depth, VGG.arch_settings)
        depths = VGG.arch_settings[depth]
        super().__init__(
            frozen_stages=check_frozen_stages(frozen_stages, len(depths)),
            norm_eval=False,
            init_cfg=DEFAULT_INIT if init_cfg is None else init_cfg,
        )
        layers: list[nn.Module] = []
        self.stage_ends: list[int] = []
        channels = 3
        for i, num_convs in enumerate(depths):
            width = min(64 * 2**i, 512)
            layers += make_vgg_layer(channels, width, num_convs, ceil_mode=ceil_mode)
            channels = width
            if i == len(depths) - 1 and not with_last_pool:
                layers.pop()
            self.stage_ends.append(len(layers))
        layers += [
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1),
            nn.Conv2d(512, 1024, kernel_size=3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, kernel_size=1),
            nn.ReLU(inplace=True),
        ]
        self.features = nn.Sequential(*layers)
        self.out_feature_indices = check_out_indices(
            out_feature_indices, len(layers), name='out_feature_indices'
        )
        self.out_channels, self.out_strides = self._widths_and_strides()
        self.freeze()

    def _widths_and_strides(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        width, stride, widths, strides = 3, 1, [], []
        for i, layer in enumerate(self.features):
            width = layer.out_channels if isinstance(layer, nn.Conv2d) else width
            # VGG's pools and pool5 are square.
            stride *= int(layer.stride) if isinstance(layer, nn.MaxPool2d) else 1  # type: ignore
            if i in self.out_feature_indices:
                widths.append(width)
                strides.append(stride)
        return tuple(widths), tuple(strides)

    def stages(self) -> list[Sequence[nn.Module]]:
        """No stem, then VGG's five stages."""
        return [(), *split_at(self.stage_ends, list(self.features))]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, 3, H, W)`` to one map for each of ``out_feature_indices``."""
        outs = []
        for i, layer in enumerate(self.features.children()):
            if i > self.out_feature_indices[-1]:
                break
            x = layer(x)
            if i in self.out_feature_indices:
                outs.append(x)
        return tuple(outs)
