"""CenterNet's deconvolution neck for ResNet.

Shapes: B images; the last backbone map at stride 32 becomes one map at stride 4.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from registry_losses.errors import ConfigError, MissingDependencyError, ShapeError
from registry_losses.registry import MODELS

# The line that interpolates linearly at stride 2; a kernel of 2 has one tap a pixel: nearest.
LINES = {2: (1.0, 1.0), 3: (0.5, 1.0, 0.5), 4: (0.25, 0.75, 0.75, 0.25)}


def bilinear_kernel(size: int) -> Tensor:
    """``(size, size)`` weights with which a stride-2 deconvolution interpolates linearly."""
    line = torch.tensor(LINES[size])
    return line[:, None] * line


@MODELS.register_module()
class CTResNetNeck(BaseModule):
    """Three pairs of a 3x3 convolution and a stride-2 deconvolution, with batch norm and ReLU.

    Zhou et al., Objects as Points, 2019, section 5 (ResNet), after Xiao et al.,
    Simple Baselines for Human Pose Estimation, 2018. Parameter names are
    OpenMMLab's. Deconvolutions start as each channel's bilinear interpolation on top of
    PyTorch's default weights; the common implementations write that kernel into the
    first input channel only.

    Args:
        in_channels: Width of the last backbone map.
        num_deconv_filters: Width after each pair.
        num_deconv_kernels: Kernel of each deconvolution: 2, 3 or 4, so that the size
            exactly doubles.
        use_dcn: Deformable 3x3 convolutions (DCNv2). They need the full mmcv.
        init_cfg: Passed to MMEngine's BaseModule.

    Raises:
        ConfigError: Lists of different lengths, or another kernel.
        MissingDependencyError: ``use_dcn`` without mmcv's compiled operators.

    Example:
        >>> neck = CTResNetNeck(512, (256, 128, 64), (4, 4, 4))
    """

    def __init__(
        self,
        in_channels: int,
        num_deconv_filters: Sequence[int],
        num_deconv_kernels: Sequence[int],
        *,
        use_dcn: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if not 0 < len(num_deconv_filters) == len(num_deconv_kernels):
            raise ConfigError(
                'num_deconv_filters, num_deconv_kernels: expected equally many entries, got '
                f'{list(num_deconv_filters)} and {list(num_deconv_kernels)}'
            )
        if not set(num_deconv_kernels) <= set(LINES):
            raise ConfigError(
                f'num_deconv_kernels: expected 2, 3 or 4 each, got {list(num_deconv_kernels)}'
            )
        if use_dcn:
            _require_dcn()
        self.in_channels = in_channels
        self.out_channels = num_deconv_filters[-1]
        layers: list[nn.Module] = []
        width = in_channels
        for out, kernel in zip(num_deconv_filters, num_deconv_kernels, strict=True):
            layers.append(
                ConvModule(
                    width,
                    out,
                    3,
                    padding=1,
                    conv_cfg={'type': 'DCNv2'} if use_dcn else None,
                    norm_cfg={'type': 'BN'},
                )
            )
            deconv: dict[str, Any] = {'type': 'deconv'}
            # size = (H - 1) * 2 - 2 * padding + kernel + output_padding = 2 H
            if kernel == 3:
                deconv['output_padding'] = 1
            layers.append(
                ConvModule(
                    out,
                    out,
                    kernel,
                    stride=2,
                    padding=0 if kernel == 2 else 1,
                    conv_cfg=deconv,
                    norm_cfg={'type': 'BN'},
                )
            )
            width = out
        self.deconv_layers = nn.Sequential(*layers)

    def init_weights(self) -> None:
        """PyTorch's default weights, deconvolutions bilinear on their diagonal."""
        super().init_weights()
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                module.reset_parameters()
                kernel = bilinear_kernel(module.kernel_size[0]).to(module.weight)
                with torch.no_grad():
                    index = torch.arange(module.in_channels, device=kernel.device)
                    module.weight[index, index] = kernel
            elif type(module) is nn.Conv2d:
                module.reset_parameters()

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """Backbone maps to ``((B, num_deconv_filters[-1], 8 H, 8 W),)`` from the last one."""
        got = inputs[-1].shape[1]
        if got != self.in_channels:
            raise ShapeError(
                f'CTResNetNeck: expected in_channels={self.in_channels} channels in the last '
                f"backbone map, got {got}; set in_channels to the backbone's last width"
            )
        return (self.deconv_layers(inputs[-1]),)


def _require_dcn() -> None:
    try:
        importlib.import_module('mmcv.ops')
    except ImportError as error:
        raise MissingDependencyError(
            'CTResNetNeck(use_dcn=True) needs the compiled operators of the full mmcv, and this '
            'is mmcv-lite or mmcv without them: pip install mmcv instead of mmcv-lite, or set '
            'use_dcn=False'
        ) from error
