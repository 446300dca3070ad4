"""The first layers of VGG, as OpenPose uses them.

Shapes: B images; with the first ten convolutions of VGG-19 the output is
``(B, 512, H / 8, W / 8)``.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import VGG as _VGG
from mmcv.cnn.vgg import make_vgg_layer
from torch import Tensor, nn

from registry_losses.backbones.base import (
    DEFAULT_INIT,
    BaseBackbone,
    check_choice,
    check_frozen_stages,
    split_at,
)
from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS


@MODELS.register_module()
class VGG(BaseBackbone):
    """VGG up to one of its convolutions, without batch norm and without its classifier.

    Simonyan & Zisserman, Very Deep Convolutional Networks, 2015, table 1. Cao et al. 2017
    (OpenPose), section 2.1, start from the first ten convolutions of VGG-19. Names count
    the layers of one ``features`` list, as torchvision's and OpenMMLab's weights do.

    Args:
        depth: 11, 13, 16 or 19.
        num_convs: How many convolutions to keep; the output is the last one's, after its
            ReLU. None keeps all.
        frozen_stages: -1 or 0 none, k the first k stages.
        init_cfg: None is Kaiming normal for convolutions.

    Raises:
        ConfigError: For a depth or a number of convolutions that there is not.

    Example:
        >>> VGG(19, num_convs=10).out_channels, VGG(19, num_convs=10).out_strides
        ((512,), (8,))
    """

    def __init__(
        self,
        depth: int = 19,
        *,
        num_convs: int | None = None,
        frozen_stages: int = -1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_choice('depth', depth, _VGG.arch_settings)
        depths = _VGG.arch_settings[depth]
        keep = sum(depths) if num_convs is None else num_convs
        if not 1 <= keep <= sum(depths):
            raise ConfigError(f'num_convs: expected 1 to {sum(depths)}, got {num_convs}')
        super().__init__(
            frozen_stages=check_frozen_stages(frozen_stages, len(depths)),
            norm_eval=False,
            init_cfg=DEFAULT_INIT if init_cfg is None else init_cfg,
        )
        layers: list[nn.Module] = []
        self.stage_ends: list[int] = []
        channels = 3
        for i, convs in enumerate(depths):
            width = min(64 * 2**i, 512)
            taken = min(convs, keep)
            layers += make_vgg_layer(channels, width, taken)
            channels, keep = width, keep - taken
            self.stage_ends.append(len(layers))
            if keep == 0:
                layers.pop()  # the pool after the last convolution
                self.stage_ends[-1] -= 1
                break
        self.features = nn.Sequential(*layers)
        self.out_channels = (channels,)
        self.out_strides = (2 ** (len(self.stage_ends) - 1),)
        self.freeze()

    def stages(self) -> list[Sequence[nn.Module]]:
        """No stem, then VGG's stages as far as they are kept."""
        return [(), *split_at(self.stage_ends, list(self.features))]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, 3, H, W)`` to one map."""
        return (self.features(x),)
