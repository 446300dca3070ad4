"""FCOS's head (Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019).

Shapes: B images, C classes; one prior a cell.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import Scale
from torch import Tensor, nn
from typing_extensions import Unpack

from ..coders.base import MAX_EXPONENT
from ..errors import ConfigError
from ..registry import MODELS
from ..structures import LossTerm
from .dense_head import DenseHead
from .initial import prior_sides, start_rare_classes
from .options import BoxHeadOptions
from .terms.stated import with_centerness
from .towers import build_tower

_INIT = dict(
    type='Normal',
    layer='Conv2d',
    std=0.01,
    override=dict(type='Normal', name='conv_cls', std=0.01, bias_prob=0.01),
)
_NORM = dict(type='GN', num_groups=32, requires_grad=True)


@MODELS.register_module()
class FCOSHead(DenseHead):
    """A point a cell: class, distances to the four sides, centreness.

    Losses (sections 3.1 and 3.3): classification and centreness over the number of
    positives; the box loss weighted by centreness, over the sum of those weights.

    Args:
        num_classes: C.
        in_channels: Channels of the pyramid.
        prior_generator: Points.
        bbox_coder: Distances; with ``normalize_by_stride`` for ``norm_on_bbox``.
        loss_centerness: Loss of the centreness branch; None leaves the branch out, and
            scores are then class scores alone.
        stacked_convs: Layers of each tower.
        feat_channels: Channels of the towers.
        strides: Pixels a cell on each level: one learnt scale a level.
        centerness_on_reg: Read centreness from the box tower instead of the class tower.
        norm_on_bbox: Predict distances in strides, kept positive by ReLU; otherwise in
            pixels, by exp, as in the paper.
        conv_bias: Bias of the towers' convolutions; 'auto' where there is no norm.
        conv_cfg: Convolution of the towers, mmcv's.
        norm_cfg: Norm of the towers, mmcv's.
        norm_per_level: Give each of that many levels norms of its own.
        init_cfg: Weight initialisation, the paper's by default.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.
    """

    map_names: tuple[str, ...] = ('cls', 'bbox', 'centerness')
    score_factor: str | None = 'centerness'
    uses_valid_flags = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        loss_centerness=None,
        stacked_convs: int = 4,
        feat_channels: int = 256,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        centerness_on_reg: bool = False,
        norm_on_bbox: bool = False,
        conv_bias: bool | str = 'auto',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = _NORM,
        norm_per_level: int | None = None,
        init_cfg=_INIT,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        self.stacked_convs, self.feat_channels = stacked_convs, feat_channels
        self.strides = tuple(strides)
        self.centerness_on_reg, self.norm_on_bbox = centerness_on_reg, norm_on_bbox
        self.conv_bias, self.conv_cfg, self.norm_cfg = conv_bias, conv_cfg, norm_cfg
        self.norm_per_level = norm_per_level
        if loss_centerness is None:
            self.map_names, self.score_factor = ('cls', 'bbox'), None
        super().__init__(
            num_classes,
            in_channels,
            extra_losses=dict(loss_centerness=loss_centerness),
            init_cfg=init_cfg,
            **common,
        )

    def _init_layers(self) -> None:
        if len(self.strides) != self.prior_generator.num_levels:
            raise ConfigError(
                f'FCOSHead.strides: {len(self.strides)}, but the prior generator has '
                f'{self.prior_generator.num_levels} levels'
            )
        options: dict[str, Any] = dict(
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
            num_levels=self.norm_per_level,
            bias=self.conv_bias,
        )
        depth, channels = self.stacked_convs, self.feat_channels
        self.cls_convs = build_tower(self.in_channels, channels, depth, **options)
        self.reg_convs = build_tower(self.in_channels, channels, depth, **options)
        last = channels if depth else self.in_channels
        self.conv_cls = nn.Conv2d(last, self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(last, 4, 3, padding=1)
        if self.loss_centerness is not None:
            self.conv_centerness = nn.Conv2d(last, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def init_weights(self) -> None:
        """Objects start rare, and distances that end in a ReLU at their prior's own box.

        From zero half of them would begin closed, and the boxes without area, from which
        no overlap loss finds its way.
        """
        super().init_weights()
        # A sigmoid's is part of init_cfg, which a config may change.
        if self.class_activation != 'sigmoid':
            bias = self.conv_cls.get_parameter('bias')
            start_rare_classes(bias, self.num_classes, self.loss_cls)
        if self.norm_on_bbox:
            width, height = prior_sides(self.prior_generator)
            bias = self.conv_reg.get_parameter('bias')
            with torch.no_grad():
                bias.copy_(bias.new_tensor((width, height, width, height)) / 2)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """``(B, C, H, W)`` logits, ``(B, 4, H, W)`` distances, ``(B, 1, H, W)`` centreness."""
        logits, distances, centerness = [], [], []
        for level, (x, scale) in enumerate(zip(feats, self.scales)):
            by_class, by_box = self.cls_convs(x, level), self.reg_convs(x, level)
            logits.append(self.conv_cls(by_class))
            # exp overflows in half precision, and beyond 88 in any.
            raw = scale(self.conv_reg(by_box)).float()
            distances.append(
                raw.clamp(min=0) if self.norm_on_bbox else raw.clamp(max=MAX_EXPONENT).exp()
            )
            if self.loss_centerness is not None:
                source = by_box if self.centerness_on_reg else by_class
                centerness.append(self.conv_centerness(source))
        return (logits, distances, centerness) if centerness else (logits, distances)

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Classification, boxes weighted by centreness, centreness."""
        terms = super().default_terms()
        if self.loss_centerness is None:
            return terms
        return with_centerness(terms, self.loss_centerness, clamp=1e-6)
