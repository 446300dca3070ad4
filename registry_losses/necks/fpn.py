"""Feature pyramid network.

Shapes: B images; input i is ``(B, in_channels[i], H_i, W_i)``,
output i ``(B, out_channels, H_i, W_i)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from registry_losses.errors import ConfigError
from registry_losses.necks.base import check_levels
from registry_losses.registry import MODELS

EXTRA_SOURCES = ('on_input', 'on_lateral', 'on_output')


@MODELS.register_module()
class FPN(BaseModule):
    """Lateral 1x1 convolutions, a top-down sum, 3x3 output convolutions.

    Lin et al., Feature Pyramid Networks for Object Detection, 2017, section 3 and figure 3.
    Levels beyond the backbone's come from a strided max pool (the paper) or from strided
    3x3 convolutions (Lin et al., Focal Loss, 2017, section 4; FCOS takes them from the
    last output). Parameter names are OpenMMLab's.

    Args:
        in_channels: Widths of the backbone's outputs, shallow to deep.
        out_channels: Width of every output.
        num_outs: Number of outputs. Fewer than levels in use: the finest ones alone, into
            which all levels are summed (OpenMMLab's FPN refuses that).
        start_level: First backbone output to use.
        end_level: Last one to use; -1 is the last there is. With an earlier one there
            are no extra levels, so ``num_outs`` is at most ``end_level - start_level + 1``.
        add_extra_convs: False: extra levels are max pools. ``on_input`` (True means the
            same): convolutions that start from the last backbone map, ``on_lateral``
            from the last lateral, ``on_output`` from the last output.
        relu_before_extra_convs: ReLU before the second and later extra convolutions.
        no_norm_on_lateral: No normalisation on the laterals.
        conv_cfg: Convolution layer (mmcv's format).
        norm_cfg: Normalisation layer, None for none.
        act_cfg: Activation, None for none.
        upsample_cfg: Arguments of ``torch.nn.functional.interpolate``. Without a
            ``scale_factor`` the size of the finer map is used, so odd sizes work.
        init_cfg: None is Xavier uniform.

    Raises:
        ConfigError: An impossible combination of levels.

    Example:
        >>> FPN([512, 1024], 256, 3, add_extra_convs='on_output').num_outs
        3
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        *,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        upsample_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            init_cfg=init_cfg or {'type': 'Xavier', 'layer': 'Conv2d', 'distribution': 'uniform'}
        )
        self.in_channels = list(in_channels)
        self.out_channels = out_channels
        self.num_outs = num_outs
        self.start_level = start_level
        self.end_level = _check_end_level(len(self.in_channels), start_level, end_level, num_outs)
        self.add_extra_convs = _check_extra_convs(add_extra_convs)
        self.relu_before_extra_convs = relu_before_extra_convs
        self.upsample_cfg = dict(upsample_cfg or {'mode': 'nearest'})

        layers: dict[str, Any] = {
            'conv_cfg': conv_cfg,
            'norm_cfg': norm_cfg,
            'act_cfg': act_cfg,
            'inplace': False,
        }
        lateral = layers | ({'norm_cfg': None} if no_norm_on_lateral else {})
        used = self.in_channels[start_level : self.end_level]
        self.lateral_convs = nn.ModuleList(
            ConvModule(width, out_channels, 1, **lateral) for width in used
        )
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, **layers) for _ in used[:num_outs]
        )
        if self.add_extra_convs:
            on_input = self.add_extra_convs == 'on_input'
            for i in range(num_outs - len(used)):
                width = used[-1] if on_input and i == 0 else out_channels
                self.fpn_convs.append(
                    ConvModule(width, out_channels, 3, stride=2, padding=1, **layers)
                )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps, shallow to deep, to ``num_outs`` maps of ``out_channels``."""
        check_levels('FPN', inputs, self.in_channels)
        used = inputs[self.start_level : self.end_level]
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, used, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = laterals[i - 1] + self._upsample(laterals[i], laterals[i - 1])
        outs = [conv(x) for conv, x in zip(self.fpn_convs, laterals, strict=False)]
        if self.add_extra_convs == 'on_input':
            extra = used[-1]
        elif self.add_extra_convs == 'on_lateral':
            extra = laterals[-1]
        else:
            extra = outs[-1]
        for i in range(len(laterals), self.num_outs):
            if not self.add_extra_convs:
                extra = F.max_pool2d(extra, 1, stride=2)
            elif self.relu_before_extra_convs and i > len(laterals):
                extra = self.fpn_convs[i](F.relu(extra))
            else:
                extra = self.fpn_convs[i](extra)
            outs.append(extra)
        return tuple(outs)

    def _upsample(self, coarse: Tensor, fine: Tensor) -> Tensor:
        if 'scale_factor' in self.upsample_cfg:
            return F.interpolate(coarse, **self.upsample_cfg)
        return F.interpolate(coarse, size=fine.shape[2:], **self.upsample_cfg)


def _check_end_level(num_ins: int, start_level: int, end_level: int, num_outs: int) -> int:
    """One past the last backbone level in use."""
    end = num_ins if end_level == -1 else end_level + 1
    if not 0 <= start_level < end <= num_ins:
        raise ConfigError(
            f'start_level, end_level: expected 0 <= start_level <= end_level < {num_ins} '
            f'(the number of in_channels) or end_level -1, got {start_level}, {end_level}'
        )
    used = end - start_level
    if num_outs < 1 or (end < num_ins and num_outs > used):
        expected = f'1 to {used}' if end < num_ins else 'at least 1'
        raise ConfigError(
            f'num_outs: expected {expected} with start_level={start_level}, '
            f'end_level={end_level} and {num_ins} in_channels, got {num_outs}'
        )
    return end


def _check_extra_convs(add_extra_convs: bool | str) -> str | None:
    if isinstance(add_extra_convs, bool):
        return 'on_input' if add_extra_convs else None
    if add_extra_convs not in EXTRA_SOURCES:
        raise ConfigError(
            f'add_extra_convs: expected a bool or one of {EXTRA_SOURCES}, got {add_extra_convs!r}'
        )
    return add_extra_convs
