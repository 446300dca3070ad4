"""HRNet: parallel branches of several resolutions that exchange maps.

Shapes: B images; branch i works at stride ``2^(i+2)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import build_conv_layer, build_norm_layer
from torch import Tensor, nn

from registry_losses.backbones.base import (
    DEFAULT_INIT,
    BaseBackbone,
    check_choice,
    check_frozen_stages,
)
from registry_losses.backbones.resnet import BasicBlock, Bottleneck, ResidualBlock, make_res_layer
from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS

BLOCKS: dict[str, type[ResidualBlock]] = {'BASIC': BasicBlock, 'BOTTLENECK': Bottleneck}
STAGE_KEYS = {'num_modules', 'num_branches', 'block', 'num_blocks', 'num_channels'}


def hrnet_extra(width: int) -> dict[str, dict]:
    """The ``extra`` of HRNet-W``width`` (Sun et al. 2019): 32 or 48 in the paper."""
    extra = {
        'stage1': {
            'num_modules': 1,
            'num_branches': 1,
            'block': 'BOTTLENECK',
            'num_blocks': (4,),
            'num_channels': (64,),
        }
    }
    for stage, num_modules in ((2, 1), (3, 4), (4, 3)):
        extra[f'stage{stage}'] = {
            'num_modules': num_modules,
            'num_branches': stage,
            'block': 'BASIC',
            'num_blocks': (4,) * stage,
            'num_channels': tuple(width * 2**i for i in range(stage)),
        }
    return extra


class HRModule(nn.Module):
    """Residual blocks on each branch, then every branch receives the sum of all.

    A coarser branch is brought up by a 1x1 convolution and nearest upsampling, a finer
    one down by 3x3 convolutions of stride 2.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        block: type[ResidualBlock],
        num_blocks: Sequence[int],
        planes: Sequence[int],
        *,
        num_outs: int,
        with_cp: bool,
        conv_cfg: dict | None,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.layer_cfg: dict[str, Any] = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg}
        self.branches = nn.ModuleList(
            make_res_layer(
                block,
                in_channels[i],
                planes[i],
                num_blocks[i],
                stride=1,
                dilation=1,
                style='pytorch',
                with_cp=with_cp,
                zero_init=False,
                **self.layer_cfg,
            )
            for i in range(len(planes))
        )
        widths = [p * block.expansion for p in planes]
        self.fuse_layers = nn.ModuleList()
        if len(widths) > 1:
            for i in range(num_outs):
                row = [self._exchange(widths, source=j, target=i) for j in range(len(widths))]
                self.fuse_layers.append(nn.ModuleList(row))

    def _exchange(self, widths: Sequence[int], *, source: int, target: int) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:
            return conv_norm(widths[source], widths[target], 1, 1, act=False, **self.layer_cfg)
        steps: list[nn.Module] = []
        for k in range(source, target):
            last = k == target - 1
            width = widths[target] if last else widths[source]
            steps.append(conv_norm(widths[source], width, 3, 2, act=not last, **self.layer_cfg))
        return nn.Sequential(*steps)

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """One map a branch, fine to coarse, to ``num_outs`` such maps."""
        maps = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        if not self.fuse_layers:
            return maps
        outs = []
        for i, row in enumerate(self.fuse_layers):
            moved = []
            for j, layer in enumerate(row.children()):
                x = layer(maps[j])
                if j > i:
                    x = F.interpolate(x, size=maps[i].shape[-2:], mode='nearest')
                moved.append(x)
            outs.append(F.relu(sum(moved[1:], moved[0])))
        return outs


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int,
    *,
    act: bool,
    conv_cfg: dict | None,
    norm_cfg: dict,
) -> nn.Sequential:
    """Convolution without bias, norm, and a ReLU if ``act``."""
    layers = [
        build_conv_layer(
            conv_cfg,
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            bias=False,
        ),
        build_norm_layer(norm_cfg, out_channels)[1],
    ]
    if act:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


@MODELS.register_module()
class HRNet(BaseBackbone):
    """A high-resolution network for pose estimation.

    Sun et al., Deep High-Resolution Representation Learning for Human Pose Estimation,
    2019, figure 1. Parameter names are OpenMMLab's.

    Args:
        extra: ``stage1`` .. ``stage4``, each with ``num_modules, num_branches, block``
            (``BASIC`` or ``BOTTLENECK``), ``num_blocks`` and ``num_channels`` a branch;
            ``stage4`` also ``multiscale_output`` (default False: only the map at stride
            4). None is :func:`hrnet_extra` of 32.
        in_channels: Channels of the image.
        frozen_stages: -1 none, 0 the stem, k the stem and k stages.
        conv_cfg: Convolution layer (mmcv's format).
        norm_cfg: Normalisation layer; None is batch norm.
        norm_eval: Keep batch norm in eval mode while training.
        with_cp: Recompute each block in the backward pass to save memory.
        init_cfg: None is Kaiming normal for convolutions and 1 for norms.

    Raises:
        ConfigError: An ``extra`` that lacks a stage or a key, or whose lists do not
            have one entry a branch.

    Example:
        >>> HRNet(hrnet_extra(8)).out_channels
        (8,)
    """

    def __init__(
        self,
        extra: dict[str, dict] | None = None,
        *,
        in_channels: int = 3,
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        extra = hrnet_extra(32) if extra is None else extra
        _check_extra(extra)
        super().__init__(
            frozen_stages=check_frozen_stages(frozen_stages, 4),
            norm_eval=norm_eval,
            init_cfg=DEFAULT_INIT if init_cfg is None else init_cfg,
        )
        norm_cfg = norm_cfg or {'type': 'BN'}
        self.layer_cfg: dict[str, Any] = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg}
        norms = [build_norm_layer(norm_cfg, 64, postfix=i) for i in (1, 2)]
        self.norm_names = [name for name, _ in norms]
        # All names of the stem in the order of the published checkpoints.
        layer = {'stride': 2, 'padding': 1, 'bias': False}
        self.conv1 = build_conv_layer(conv_cfg, in_channels, 64, 3, **layer)
        self.add_module(*norms[0])
        self.conv2 = build_conv_layer(conv_cfg, 64, 64, 3, **layer)
        self.add_module(*norms[1])
        self.relu = nn.ReLU(inplace=True)

        first = extra['stage1']
        block = BLOCKS[first['block']]
        self.layer1 = make_res_layer(
            block,
            64,
            first['num_channels'][0],
            first['num_blocks'][0],
            stride=1,
            dilation=1,
            style='pytorch',
            with_cp=with_cp,
            zero_init=False,
            **self.layer_cfg,
        )
        widths = [first['num_channels'][0] * block.expansion]
        for stage in (2, 3, 4):
            cfg = extra[f'stage{stage}']
            block = BLOCKS[cfg['block']]
            planes = list(cfg['num_channels'])
            wider = [p * block.expansion for p in planes]
            self.add_module(f'transition{stage - 1}', self._transition(widths, wider))
            all_outs = stage < 4 or cfg.get('multiscale_output', False)
            modules = []
            for m in range(cfg['num_modules']):
                last = m == cfg['num_modules'] - 1
                modules.append(
                    HRModule(
                        wider,
                        block,
                        cfg['num_blocks'],
                        planes,
                        num_outs=len(wider) if all_outs or not last else 1,
                        with_cp=with_cp,
                        **self.layer_cfg,
                    )
                )
            self.add_module(f'stage{stage}', nn.Sequential(*modules))
            widths = wider
        self.out_channels = tuple(widths) if all_outs else (widths[0],)
        self.out_strides = tuple(4 * 2**i for i in range(len(self.out_channels)))
        self.freeze()

    def _transition(self, widths: Sequence[int], wider: Sequence[int]) -> nn.ModuleList:
        """Where a width changes, a 3x3 convolution; a new branch from the last by stride 2."""
        layers: list[nn.Module] = []
        for i, width in enumerate(wider):
            if i >= len(widths):
                step = conv_norm(widths[-1], width, 3, 2, act=True, **self.layer_cfg)
                layers.append(nn.Sequential(step))
            elif widths[i] != width:
                layers.append(conv_norm(widths[i], width, 3, 1, act=True, **self.layer_cfg))
            else:
                layers.append(nn.Identity())
        return nn.ModuleList(layers)

    def stages(self) -> list[Sequence[nn.Module]]:
        """The stem, ``layer1``, then each transition with its stage."""
        stem = (self.conv1, self.conv2, *(getattr(self, name) for name in self.norm_names))
        later = [
            (getattr(self, f'transition{s - 1}'), getattr(self, f'stage{s}')) for s in (2, 3, 4)
        ]
        return [stem, (self.layer1,), *later]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, in_channels, H, W)`` to one map at stride 4, or all four branches."""
        for i, norm in enumerate(self.norm_names, start=1):
            x = self.relu(getattr(self, norm)(getattr(self, f'conv{i}')(x)))
        maps = [self.layer1(x)]
        for stage in (2, 3, 4):
            branches = []
            for i, layer in enumerate(getattr(self, f'transition{stage - 1}')):
                source = maps[min(i, len(maps) - 1)]
                branches.append(layer(source))
            maps = branches
            for module in getattr(self, f'stage{stage}'):
                maps = module(maps)
        return tuple(maps)


def _check_extra(extra: dict[str, dict]) -> None:
    for stage in (1, 2, 3, 4):
        cfg = extra.get(f'stage{stage}')
        allowed = STAGE_KEYS | ({'multiscale_output'} if stage == 4 else set())
        if cfg is None or not STAGE_KEYS <= set(cfg) <= allowed:
            got = 'nothing' if cfg is None else sorted(cfg)
            raise ConfigError(
                f"extra['stage{stage}']: expected keys {sorted(STAGE_KEYS)}, got {got}"
            )
        check_choice(f"extra['stage{stage}']['block']", cfg['block'], BLOCKS)
        lengths = {len(cfg['num_blocks']), len(cfg['num_channels']), cfg['num_branches']}
        if lengths != {stage}:
            raise ConfigError(
                f"extra['stage{stage}']: expected num_branches = {stage} and as many entries in "
                f'num_blocks and num_channels, got {cfg["num_branches"]}, {cfg["num_blocks"]} '
                f'and {cfg["num_channels"]}'
            )
