"""Stacks of convolutions that the levels of a pyramid share.

Shapes: B images, L levels.
"""

from mmcv.cnn import ConvModule, build_activation_layer, build_norm_layer
from torch import Tensor, nn

from ..errors import ConfigError


class ConvTower(nn.ModuleList):
    """``depth`` 3x3 ``ConvModule`` s, as OpenMMLab's ``cls_convs`` and ``reg_convs``.

    Args:
        in_channels: Channels in.
        channels: Channels of every layer.
        depth: Layers.
        conv_cfg, norm_cfg: As in mmcv.
        bias: As in mmcv's ``ConvModule``.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        *,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        bias: bool | str = 'auto',
    ) -> None:
        layers = [
            ConvModule(
                in_channels if i == 0 else channels,
                channels,
                3,
                padding=1,
                conv_cfg=conv_cfg,
                norm_cfg=norm_cfg,
                bias=bias,
            )
            for i in range(depth)
        ]
        super().__init__(layers)

    def forward(self, x: Tensor, level: int = 0) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, channels, H, W)``; ``level`` changes nothing."""
        for layer in self:
            x = layer(x)
        return x


class LevelNormLayer(nn.Module):
    """One shared 3x3 convolution, a norm a level, ReLU."""

    def __init__(self, in_channels: int, channels: int, num_levels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(
            build_norm_layer(norm_cfg, channels)[1] for _ in range(num_levels)
        )
        self.activate = build_activation_layer(dict(type='ReLU'))

    def forward(self, x: Tensor, level: int) -> Tensor:
        """``(B, in_channels, H, W)`` of one level to ``(B, channels, H, W)``."""
        return self.activate(self.norms[level](self.conv(x)))


class LevelNormTower(nn.ModuleList):
    """A tower whose convolutions the levels share and whose norms each level owns.

    Batch statistics differ between pyramid levels, so a batch norm shared by all of
    them normalises none of them; this is what makes batch norm usable in a head.

    Args:
        in_channels: Channels in.
        channels: Channels of every layer.
        depth: Layers.
        num_levels: L.
        norm_cfg: The norm; required.
        conv_cfg: Only the plain convolution is supported.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        *,
        num_levels: int,
        norm_cfg: dict | None,
        conv_cfg: dict | None = None,
    ) -> None:
        if norm_cfg is None or conv_cfg is not None:
            raise ConfigError('norm_per_level: needs a norm_cfg and no conv_cfg')
        super().__init__()
        for i in range(depth):
            self.append(
                LevelNormLayer(in_channels if i == 0 else channels, channels, num_levels, norm_cfg)
            )

    def forward(self, x: Tensor, level: int) -> Tensor:
        """``(B, in_channels, H, W)`` of one level to ``(B, channels, H, W)``."""
        for layer in self:
            x = layer(x, level)
        return x


def build_tower(
    in_channels: int,
    channels: int,
    depth: int,
    *,
    conv_cfg: dict | None,
    norm_cfg: dict | None,
    num_levels: int | None = None,
    bias: bool | str = 'auto',
) -> nn.Module:
    """A :class:`ConvTower`, or with ``num_levels`` a :class:`LevelNormTower`."""
    if num_levels is not None:
        return LevelNormTower(
            in_channels,
            channels,
            depth,
            num_levels=num_levels,
            norm_cfg=norm_cfg,
            conv_cfg=conv_cfg,
        )
    return ConvTower(in_channels, channels, depth, conv_cfg=conv_cfg, norm_cfg=norm_cfg, bias=bias)
