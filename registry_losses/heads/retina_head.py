"""RetinaNet's head (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017).

Shapes: B images, A anchors a cell, C classes.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from ..registry import MODELS
from .dense_head import DenseHead
from .initial import start_rare_classes
from .options import BoxHeadOptions
from .towers import build_tower

_INIT = dict(
    type='Normal',
    layer='Conv2d',
    std=0.01,
    # Every class starts at probability 0.01, so that the many negatives of the first
    # steps do not drown the positives (section 3.3 of the paper).
    override=dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01),
)


@MODELS.register_module()
class RetinaHead(DenseHead):
    """Two towers of convolutions shared by all levels, A anchors a cell.

    Losses: classification over all anchors, boxes of the positives; both divided by
    the number of positives (section 4 of the paper).

    Args:
        num_classes: C.
        in_channels: Channels of the pyramid.
        prior_generator: Anchors.
        bbox_coder: Between anchors and boxes.
        stacked_convs: Layers of each tower.
        feat_channels: Channels of the towers.
        conv_cfg: Convolution of the towers, mmcv's.
        norm_cfg: Norm of the towers, mmcv's.
        norm_per_level: Give each of that many levels norms of its own; None shares them.
        init_cfg: Weight initialisation, the paper's by default.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        stacked_convs: int = 4,
        feat_channels: int = 256,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_per_level: int | None = None,
        init_cfg=_INIT,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        self.stacked_convs, self.feat_channels = stacked_convs, feat_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.norm_per_level = norm_per_level
        super().__init__(
            num_classes,
            in_channels,
            init_cfg=init_cfg,
            **common,
        )

    def _init_layers(self) -> None:
        options: dict[str, Any] = dict(
            conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, num_levels=self.norm_per_level
        )
        depth, channels = self.stacked_convs, self.feat_channels
        self.cls_convs = build_tower(self.in_channels, channels, depth, **options)
        self.reg_convs = build_tower(self.in_channels, channels, depth, **options)
        last = channels if depth else self.in_channels
        base = self.prior_generator.num_base_priors[0]
        self.retina_cls = nn.Conv2d(last, base * self.cls_out_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(last, base * self.map_channels()['bbox'], 3, padding=1)

    def init_weights(self) -> None:
        """Objects start rare, whatever the activation of the classification loss."""
        super().init_weights()
        # A sigmoid's is part of init_cfg, which a config may change.
        if self.class_activation != 'sigmoid':
            bias = self.retina_cls.get_parameter('bias')
            start_rare_classes(bias, self.num_classes, self.loss_cls)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """``(B, A * C, H, W)`` logits and ``(B, A * 4, H, W)`` box codes of each level."""
        logits = [self.retina_cls(self.cls_convs(x, i)) for i, x in enumerate(feats)]
        codes = [self.retina_reg(self.reg_convs(x, i)) for i, x in enumerate(feats)]
        return logits, codes
