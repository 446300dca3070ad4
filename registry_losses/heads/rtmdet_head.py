"""RTMDet's head (Lyu et al., "RTMDet", arXiv:2212.07784).

Shapes: B images, C classes; one prior a cell.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from typing_extensions import Unpack

from ..coders.base import MAX_EXPONENT
from ..registry import MODELS
from ..structures import LossTerm
from .dense_head import DenseHead
from .initial import prior_sides, start_rare_classes
from .options import BoxHeadOptions

_NORM = dict(type='BN', momentum=0.03, eps=0.001)
_ACT = dict(type='SiLU')
_INIT = dict(type='Normal', layer='Conv2d', std=0.01)


@MODELS.register_module()
class RTMDetHead(DenseHead):
    """Towers whose convolutions all levels share, with norms of each level's own.

    Losses (section 3.3): classification over all priors, its target the quality that the
    assigner gave; boxes weighted by that quality; both over the sum of the qualities.

    Deviation: boxes begin at those of their priors.

    Args:
        num_classes: C.
        in_channels: Channels of every feature map.
        prior_generator: Points, in the corners of their cells.
        bbox_coder: A coder of distances in pixels.
        stacked_convs: Layers of each tower.
        feat_channels: Channels of the towers.
        share_conv: Share the towers' convolutions; False gives each level its own.
        exp_on_reg: Distances by exp (s, m, l, x) or as they come (tiny).
        pred_kernel_size: Kernel of the last convolutions.
        conv_cfg: Convolution of the towers, mmcv's.
        norm_cfg: Norm of the towers, mmcv's.
        act_cfg: Activation of the towers, mmcv's.
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.
    """

    uses_valid_flags = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        stacked_convs: int = 2,
        feat_channels: int = 256,
        share_conv: bool = True,
        exp_on_reg: bool = False,
        pred_kernel_size: int = 1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = _NORM,
        act_cfg: dict | None = _ACT,
        init_cfg=_INIT,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        self.stacked_convs, self.feat_channels = stacked_convs, feat_channels
        self.share_conv, self.exp_on_reg = share_conv, exp_on_reg
        self.pred_kernel_size = pred_kernel_size
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        super().__init__(
            num_classes,
            in_channels,
            init_cfg=init_cfg,
            **common,
        )

    def _init_layers(self) -> None:
        options: dict[str, Any] = dict(
            conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg
        )
        channels = [self.in_channels] + [self.feat_channels] * self.stacked_convs

        def towers() -> nn.ModuleList:
            levels: list[nn.Sequential] = []
            for _ in range(self.num_levels):
                tower = nn.Sequential(
                    *(
                        ConvModule(a, b, 3, padding=1, **options)
                        for a, b in itertools.pairwise(channels)
                    )
                )
                if self.share_conv and levels:
                    for mine, first in zip(tower, levels[0]):
                        mine.conv = first.conv
                levels.append(tower)
            return nn.ModuleList(levels)

        self.cls_convs, self.reg_convs = towers(), towers()
        kernel, pad = self.pred_kernel_size, self.pred_kernel_size // 2

        def last(outputs: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv2d(channels[-1], outputs, kernel, padding=pad)
                for _ in range(self.num_levels)
            )

        self.rtm_cls, self.rtm_reg = last(self.cls_out_channels), last(4)

    def init_weights(self) -> None:
        """Objects start rare, boxes as their priors."""
        super().init_weights()
        width, height = prior_sides(self.prior_generator)
        halves = (width / 2, height / 2) * 2
        distances = [math.log(half) for half in halves] if self.exp_on_reg else list(halves)
        for cls, reg in zip(self.rtm_cls, self.rtm_reg):
            start_rare_classes(cls.get_parameter('bias'), self.num_classes, self.loss_cls)
            bias = reg.get_parameter('bias')
            with torch.no_grad():
                bias.copy_(bias.new_tensor(distances))

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """``(B, C, H, W)`` logits and ``(B, 4, H, W)`` distances in pixels."""
        logits, distances = [], []
        for level, (x, stride) in enumerate(zip(feats, self.prior_generator.strides)):
            logits.append(self.rtm_cls[level](self.cls_convs[level](x)))
            raw = self.rtm_reg[level](self.reg_convs[level](x)).float()
            if self.exp_on_reg:
                raw = raw.clamp(max=MAX_EXPONENT).exp()
            distances.append(raw * raw.new_tensor((*stride, *stride))[:, None, None])
        return logits, distances

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Classification by quality and boxes weighted by it, over the sum of qualities."""
        box: dict[str, Any] = dict(branch='bbox', kind=self.box_kind(), pair_weight='quality')
        return (
            LossTerm(
                'loss_cls',
                self.loss_cls,
                kind='classification',
                branch='cls',
                normalizer='quality_sum',
            ),
            LossTerm('loss_bbox', self.loss_bbox, normalizer='weight_sum', **box),
        )
