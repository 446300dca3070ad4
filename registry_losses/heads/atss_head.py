"""ATSS's head.

Zhang et al., "Bridging the Gap Between Anchor-based and Anchor-free Detection via
Adaptive Training Sample Selection", CVPR 2020.

Shapes: B images, A anchors a cell, C classes.
"""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import Scale
from torch import Tensor, nn
from typing_extensions import NotRequired, Unpack

from ..registry import MODELS
from ..structures import LossTerm
from .dense_head import DenseHead
from .initial import start_rare_classes
from .options import BoxHeadOptions
from .terms.stated import with_centerness
from .towers import build_tower

_INIT = dict(
    type='Normal',
    layer='Conv2d',
    std=0.01,
    override=dict(type='Normal', name='atss_cls', std=0.01, bias_prob=0.01),
)
_NORM = dict(type='GN', num_groups=32, requires_grad=True)


class ATSSHeadOptions(BoxHeadOptions):
    """What :class:`ATSSHead` takes beside the classes and channels, for heads that extend it.

    Attributes:
        loss_centerness: Loss of the third branch; None leaves the branch out.
        stacked_convs: Layers of each tower.
        feat_channels: Channels of the towers.
        pred_kernel_size: Kernel of the last convolutions.
        conv_cfg: Convolution of the towers, mmcv's.
        norm_cfg: Norm of the towers, mmcv's.
        norm_per_level: Give each of that many levels norms of its own.
        init_cfg: Weight initialisation.
    """

    loss_centerness: NotRequired[Any]
    stacked_convs: NotRequired[int]
    feat_channels: NotRequired[int]
    pred_kernel_size: NotRequired[int]
    conv_cfg: NotRequired[dict | None]
    norm_cfg: NotRequired[dict | None]
    norm_per_level: NotRequired[int | None]
    init_cfg: NotRequired[Any]


@MODELS.register_module()
class ATSSHead(DenseHead):
    """RetinaNet's towers with a learnt scale a level and a centreness branch.

    Losses: classification and centreness over the number of positives; boxes weighted
    by centreness, over the sum of those weights.

    Args:
        num_classes: C.
        in_channels: Channels of the pyramid.
        prior_generator: Anchors.
        bbox_coder: Between anchors and boxes.
        loss_centerness: Loss of the centreness branch; None leaves the branch out.
        stacked_convs: Layers of each tower.
        feat_channels: Channels of the towers.
        pred_kernel_size: Kernel of the last convolutions.
        conv_cfg: Convolution of the towers, mmcv's.
        norm_cfg: Norm of the towers, mmcv's.
        norm_per_level: Give each of that many levels norms of its own.
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.
    """

    map_names: tuple[str, ...] = ('cls', 'bbox', 'centerness')
    score_factor: str | None = 'centerness'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        loss_centerness=None,
        stacked_convs: int = 4,
        feat_channels: int = 256,
        pred_kernel_size: int = 3,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = _NORM,
        norm_per_level: int | None = None,
        init_cfg=_INIT,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        self.stacked_convs, self.feat_channels = stacked_convs, feat_channels
        self.pred_kernel_size = pred_kernel_size
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
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
        options: dict[str, Any] = dict(
            conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, num_levels=self.norm_per_level
        )
        depth, channels = self.stacked_convs, self.feat_channels
        self.cls_convs = build_tower(self.in_channels, channels, depth, **options)
        self.reg_convs = build_tower(self.in_channels, channels, depth, **options)
        last = channels if depth else self.in_channels
        base = self.prior_generator.num_base_priors[0]
        kernel, pad = self.pred_kernel_size, self.pred_kernel_size // 2
        self.atss_cls = nn.Conv2d(last, base * self.cls_out_channels, kernel, padding=pad)
        self.atss_reg = nn.Conv2d(last, base * 4, kernel, padding=pad)
        if self.loss_centerness is not None:
            self.atss_centerness = nn.Conv2d(last, base, kernel, padding=pad)
        levels = self.prior_generator.num_levels
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(levels))

    def init_weights(self) -> None:
        """Objects start rare, whatever the activation of the classification loss."""
        super().init_weights()
        # A sigmoid's is part of init_cfg, which a config may change.
        if self.class_activation != 'sigmoid':
            bias = self.atss_cls.get_parameter('bias')
            start_rare_classes(bias, self.num_classes, self.loss_cls)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """``(B, A C, H, W)`` logits, ``(B, A 4, H, W)`` codes, ``(B, A, H, W)`` centreness."""
        logits, codes, centerness = [], [], []
        for level, (x, scale) in enumerate(zip(feats, self.scales)):
            by_box = self.reg_convs(x, level)
            logits.append(self.atss_cls(self.cls_convs(x, level)))
            codes.append(scale(self.atss_reg(by_box)).float())
            if self.loss_centerness is not None:
                centerness.append(self.atss_centerness(by_box))
        return (logits, codes, centerness) if centerness else (logits, codes)

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Classification, boxes weighted by centreness, centreness."""
        terms = super().default_terms()
        if self.loss_centerness is None:
            return terms
        return with_centerness(terms, self.loss_centerness)
