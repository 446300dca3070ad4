"""From proposals to features of one size each.

Shapes: B images, C channels, R regions, P x Q bins a region, L levels.
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..ops import roi_align
from ..registry import MODELS
from .building import build
from .proposals import roi_levels


@MODELS.register_module()
class RoIAlign(nn.Module):
    """Mean of bilinear samples in each bin of each region (He et al., Mask R-CNN, 2017).

    Args:
        output_size: Bins a side, or (rows, columns).
        spatial_scale: Cells a pixel; :class:`SingleRoIExtractor` sets it for each level.
        sampling_ratio: Samples a side of a bin; 0 takes about one a cell.
        pool_mode: Accepted as in OpenMMLab; must be ``avg``.
        aligned: Cell centres lie at half cells.
        use_torchvision: Accepted as in OpenMMLab; the best operator installed is taken
            anyway.

    Raises:
        ConfigError: If ``pool_mode`` is another.
    """

    def __init__(
        self,
        output_size: int | Sequence[int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        pool_mode: str = 'avg',
        aligned: bool = True,
        use_torchvision: bool = False,
    ) -> None:
        super().__init__()
        if pool_mode != 'avg':
            raise ConfigError(f"RoIAlign.pool_mode: only 'avg' is here, got {pool_mode!r}")
        size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
        self.output_size: tuple[int, int] = (size[0], size[1])
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, features: Tensor, rois: Tensor, spatial_scale: float | None = None) -> Tensor:
        """``(R, C, P, Q)`` of ``features (B, C, H, W)`` and ``rois (R, 5)``."""
        scale = self.spatial_scale if spatial_scale is None else spatial_scale
        return roi_align(
            features, rois, self.output_size, scale, self.sampling_ratio, aligned=self.aligned
        )


@MODELS.register_module()
class SingleRoIExtractor(BaseModule):
    """Pools every region from one level of a pyramid, chosen by the region's size.

    Lin et al., Feature Pyramid Networks, CVPR 2017, section 4.2, eq. (1).

    Args:
        roi_layer: Pools one level: :class:`RoIAlign`.
        out_channels: C of the pyramid.
        featmap_strides: Pixels a cell of the levels pooled from, finest first; further
            levels of the pyramid are not used.
        finest_scale: Regions whose side is below twice this many pixels are pooled from the
            first level.
        init_cfg: Accepted as in OpenMMLab; there are no weights.
    """

    def __init__(
        self,
        roi_layer,
        out_channels: int,
        featmap_strides: Sequence[float],
        finest_scale: float = 56,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.roi_layer = build(MODELS, roi_layer, 'roi_layer')
        self.out_channels = out_channels
        self.featmap_strides = list(featmap_strides)
        self.finest_scale = finest_scale

    @property
    def num_inputs(self) -> int:
        """L, the levels pooled from."""
        return len(self.featmap_strides)

    def forward(self, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Pool.

        Args:
            feats: ``(B, C, H, W)`` a level, at least L of them.
            rois: ``(R, 5)`` image index, x1, y1, x2, y2 in pixels.

        Returns:
            ``(R, C, P, Q)``.
        """
        if len(feats) < self.num_inputs:
            raise ConfigError(
                f'featmap_strides: {self.num_inputs} levels, but the neck gives {len(feats)}'
            )
        feats = feats[: self.num_inputs]
        if self.num_inputs == 1:
            return self.roi_layer(feats[0], rois, 1 / self.featmap_strides[0])
        levels = roi_levels(rois[:, 1:], self.num_inputs, self.finest_scale)
        order = torch.argsort(levels, stable=True)
        counts = torch.bincount(levels, minlength=self.num_inputs).tolist()  # sync: their sizes
        parts = rois[order].split(counts)
        # An empty part keeps its level in the graph, so that the same parameters get
        # gradients on every rank.
        pooled = [
            self.roi_layer(level, part, 1 / stride)
            for level, part, stride in zip(feats, parts, self.featmap_strides)
        ]
        together = torch.cat(pooled)
        return together[torch.argsort(order)]
