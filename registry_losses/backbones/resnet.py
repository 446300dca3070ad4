"""ResNet, with the parameter names of torchvision's and OpenMMLab's checkpoints.

Shapes: B images, C channels; level i is ``(B, C_i, ceil(H / 2^(i+2)), ceil(W / 2^(i+2)))``.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from registry_losses.backbones.base import (
    DEFAULT_INIT,
    BaseBackbone,
    check_choice,
    check_frozen_stages,
    check_out_indices,
)
from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS


class ResidualBlock(BaseModule):
    """``relu(shortcut(x) + branch(x))``; the branch is a chain of conv and norm.

    He et al., Deep Residual Learning for Image Recognition, 2016, figures 2 and 5.
    The layers are named ``conv1, bn1, conv2, ...`` (``gn1`` for group norm).
    """

    expansion: int

    def __init__(
        self,
        in_channels: int,
        planes: int,
        *,
        stride: int,
        dilation: int,
        style: str,
        downsample: nn.Module | None,
        with_cp: bool,
        conv_cfg: dict | None,
        norm_cfg: dict,
        zero_init: bool,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.layer_names: list[tuple[str, str]] = []
        chain = self.chain(planes, stride=stride, dilation=dilation, style=style)
        for i, (kernel, step, spread, width) in enumerate(chain, start=1):
            conv = build_conv_layer(
                conv_cfg,
                in_channels,
                width,
                kernel,
                stride=step,
                padding=spread * (kernel // 2),
                dilation=spread,
                bias=False,
            )
            norm_name, norm = build_norm_layer(norm_cfg, width, postfix=i)
            self.add_module(f'conv{i}', conv)
            self.add_module(norm_name, norm)
            self.layer_names.append((f'conv{i}', norm_name))
            in_channels = width
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        if zero_init:
            last_norm = self.layer_names[-1][1]
            self.init_cfg = {'type': 'Constant', 'val': 0, 'override': {'name': last_norm}}

    @staticmethod
    def chain(
        planes: int, *, stride: int, dilation: int, style: str
    ) -> list[tuple[int, int, int, int]]:
        """Kernel, stride, dilation and output channels of each convolution."""
        raise NotImplementedError

    def _inner(self, x: Tensor) -> Tensor:
        out = x
        last = len(self.layer_names) - 1
        for i, (conv, norm) in enumerate(self.layer_names):
            out = getattr(self, norm)(getattr(self, conv)(out))
            if i < last:
                out = self.relu(out)
        return out + (x if self.downsample is None else self.downsample(x))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, expansion * planes, H / stride, W / stride)``."""
        if self.with_cp and x.requires_grad:
            return self.relu(checkpoint(self._inner, x, use_reentrant=False))
        return self.relu(self._inner(x))


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions (ResNet-18 and -34)."""

    expansion = 1

    @staticmethod
    def chain(
        planes: int, *, stride: int, dilation: int, style: str
    ) -> list[tuple[int, int, int, int]]:
        """The stride is on the first convolution in either style."""
        return [(3, stride, dilation, planes), (3, 1, 1, planes)]


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1 (ResNet-50 and deeper)."""

    expansion = 4

    @staticmethod
    def chain(
        planes: int, *, stride: int, dilation: int, style: str
    ) -> list[tuple[int, int, int, int]]:
        """The stride is on the 3x3 (``pytorch``) or on the first 1x1 (``caffe``)."""
        first, second = (1, stride) if style == 'pytorch' else (stride, 1)
        return [(1, first, 1, planes), (3, second, dilation, planes), (1, 1, 1, 4 * planes)]


def make_res_layer(
    block: type[ResidualBlock],
    in_channels: int,
    planes: int,
    num_blocks: int,
    *,
    stride: int,
    dilation: int,
    style: str,
    with_cp: bool,
    conv_cfg: dict | None,
    norm_cfg: dict,
    zero_init: bool,
) -> Sequential:
    """One stage: the first block changes stride and width, the others keep them."""
    out_channels = planes * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            build_conv_layer(conv_cfg, in_channels, out_channels, 1, stride=stride, bias=False),
            build_norm_layer(norm_cfg, out_channels)[1],
        )
    blocks = []
    for i in range(num_blocks):
        blocks.append(
            block(
                in_channels if i == 0 else out_channels,
                planes,
                stride=stride if i == 0 else 1,
                dilation=dilation,
                style=style,
                downsample=downsample if i == 0 else None,
                with_cp=with_cp,
                conv_cfg=conv_cfg,
                norm_cfg=norm_cfg,
                zero_init=zero_init,
            )
        )
    # MMEngine's Sequential, so that init_weights reaches the blocks.
    return Sequential(*blocks)


@MODELS.register_module()
class ResNet(BaseBackbone):
    """ResNet-18, -34, -50, -101, -152.

    He et al., Deep Residual Learning for Image Recognition, 2016, table 1. Parameter
    names are torchvision's without ``fc``, so ``init_cfg=dict(type='Pretrained',
    checkpoint='torchvision://resnet50')`` loads its weights.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: Channels of the image.
        base_channels: Width of the stem and of the first stage's planes.
        num_stages: 1 to 4.
        strides: Stride of each stage's first block.
        dilations: Dilation of each stage's 3x3 convolutions.
        out_indices: Which stages to return, increasing, 0 the one at stride 4.
        style: ``pytorch`` (stride on the 3x3 convolution) or ``caffe`` (on the first
            1x1: the weights released by the authors). Only bottlenecks differ.
        frozen_stages: -1 none, 0 the stem, k the stem and k stages.
        conv_cfg: Convolution layer (mmcv's format); None is Conv2d.
        norm_cfg: Normalisation layer; ``requires_grad=False`` fixes its affine part.
        norm_eval: Keep batch norm in eval mode while training.
        with_cp: Recompute each block in the backward pass to save memory.
        zero_init_residual: Start each residual branch at zero (Goyal et al. 2017);
            used only when ``init_cfg`` is None.
        init_cfg: None is Kaiming normal for convolutions and 1 for norms.

    Raises:
        ConfigError: An option outside what is listed here.

    Example:
        >>> ResNet(18, out_indices=(1, 3)).out_channels
        (128, 512)
    """

    archs: dict[int, tuple[type[ResidualBlock], tuple[int, ...]]] = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }

    def __init__(
        self,
        depth: int,
        *,
        in_channels: int = 3,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = 'pytorch',
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_eval: bool = True,
        with_cp: bool = False,
        zero_init_residual: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_choice('depth', depth, self.archs)
        check_choice('style', style, ('pytorch', 'caffe'))
        check_choice('num_stages', num_stages, (1, 2, 3, 4))
        if not len(strides) == len(dilations) == num_stages:
            raise ConfigError(
                f'strides and dilations: expected num_stages = {num_stages} entries each, '
                f'got {list(strides)} and {list(dilations)}'
            )
        super().__init__(
            frozen_stages=check_frozen_stages(frozen_stages, num_stages),
            norm_eval=norm_eval,
            init_cfg=DEFAULT_INIT if init_cfg is None else init_cfg,
        )
        self.depth = depth
        self.out_indices = check_out_indices(out_indices, num_stages)
        norm_cfg = norm_cfg or {'type': 'BN', 'requires_grad': True}
        self.conv1 = build_conv_layer(
            conv_cfg, in_channels, base_channels, 7, stride=2, padding=3, bias=False
        )
        self.norm1_name, norm1 = build_norm_layer(norm_cfg, base_channels, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

        block, depths = self.archs[depth]
        channels, stride = base_channels, 4
        all_channels, all_strides = [], []
        for i in range(num_stages):
            planes = base_channels * 2**i
            layer = make_res_layer(
                block,
                channels,
                planes,
                depths[i],
                stride=strides[i],
                dilation=dilations[i],
                style=style,
                with_cp=with_cp,
                conv_cfg=conv_cfg,
                norm_cfg=norm_cfg,
                zero_init=zero_init_residual and init_cfg is None,
            )
            self.add_module(f'layer{i + 1}', layer)
            channels, stride = planes * block.expansion, stride * strides[i]
            all_channels.append(channels)
            all_strides.append(stride)
        self.layer_names = [f'layer{i + 1}' for i in range(num_stages)]
        self.out_channels = tuple(all_channels[i] for i in self.out_indices)
        self.out_strides = tuple(all_strides[i] for i in self.out_indices)
        self.freeze()

    def stages(self) -> list[Sequence[nn.Module]]:
        """Stem (``conv1`` and its norm), ``layer1`` .. ``layer4``."""
        stem = (self.conv1, getattr(self, self.norm1_name))
        return [stem, *((getattr(self, name),) for name in self.layer_names)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, in_channels, H, W)`` to one map for each of ``out_indices``."""
        x = self.maxpool(self.relu(getattr(self, self.norm1_name)(self.conv1(x))))
        return self.run_stages(x, self.layer_names, self.out_indices)
