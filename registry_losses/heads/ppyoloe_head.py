"""The anchor-free heads of PP-YOLOE and YOLOv6.

Xu et al., "PP-YOLOE: An evolved version of YOLO", arXiv:2203.16250; Li et al., "YOLOv6: A
Single-Stage Object Detection Framework for Industrial Applications", arXiv:2209.02976.

Shapes: B images, C classes, F channels, n bins a side; one prior a cell.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Unpack

from ..errors import ConfigError
from ..registry import MODELS
from ..structures import LossTerm
from .initial import start_rare_classes
from .options import BoxHeadOptions
from .phases import PhasedHead
from .side_bins import box_terms, check_bins, coder_with_bins, start_as_priors

_NORM = dict(type='BN', momentum=0.03, eps=0.001)
_ACT = dict(type='Swish')
Branches = Literal['attention', 'convs']


class AttentionStem(nn.Module):
    """Channels weighted by a gate that reads their means, then mixed.

    PP-YOLOE, section 2.2, efficient task-aligned head.
    """

    def __init__(self, channels: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.conv = ConvModule(channels, channels, 1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, F, H, W)`` to the same."""
        gate = self.fc(F.adaptive_avg_pool2d(x, 1)).sigmoid()
        return self.conv(x * gate)


class ConvStem(nn.Sequential):
    """``depth`` convolutions of 3 x 3: YOLOv6's decoupled branches, section 2.1."""

    def __init__(self, channels: int, depth: int, options: Mapping[str, Any]) -> None:
        super().__init__(
            *(ConvModule(channels, channels, 3, padding=1, **options) for _ in range(depth))
        )


@MODELS.register_module()
class PPYOLOEHead(PhasedHead):
    """Decoupled branches on every level and boxes as distributions, for a task-aligned assigner.

    With ``branches='attention'`` a branch is a gate on the channels and one convolution, and
    the classes keep the features beside it (PP-YOLOE, section 2.2); with ``'convs'`` both
    follow a common 1 x 1 convolution (YOLOv6, section 2.1, and those that came after it).
    The distance to each side is the expectation of a softmax over bins 0 to ``reg_max``, in
    strides.

    Losses (PP-YOLOE, section 2.2): classification, its target the quality that the assigner
    gave; boxes and distributions, weighted by that quality; all over the sum of the
    qualities.

    Deviations: boxes begin at those of their priors; while ``train_cfg.initial_assigner``
    assigns, the quality of a positive is what that assigner gives, which is 1 for most (in the
    authors' code: the IoU of its box).

    Args:
        num_classes: C.
        in_channels: Channels of the feature maps, one number or one a level.
        prior_generator: Points, in the centres of their cells.
        bbox_coder: A ``DistancePointBBoxCoder``; in strides and with ``reg_max + 1`` bins
            unless its node says otherwise.
        loss_cls: Classification loss, of targets between 0 and 1.
        loss_bbox: Loss of whole boxes, or of distances.
        loss_dfl: Loss of the distributions; None leaves it out.
        reg_max: The largest distance, n - 1.
        branches: See above.
        stacked_convs: Layers of a branch of ``'convs'``.
        conv_cfg: Convolution of the branches, mmcv's.
        norm_cfg: Norm of the branches, mmcv's.
        act_cfg: Activation of the branches, mmcv's.
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`; ``train_cfg``
            also holds ``initial_assigner`` and ``initial_epoch``, how long it assigns (see
            :class:`.phases.InitialPhase`).

    Raises:
        ConfigError: If the coder has another number of bins, or ``in_channels`` another
            number of levels than the priors.
    """

    uses_valid_flags = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        *,
        loss_dfl=None,
        reg_max: int = 16,
        branches: Branches = 'attention',
        stacked_convs: int = 1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = _NORM,
        act_cfg: dict | None = _ACT,
        init_cfg=None,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        if branches not in get_args(Branches):
            raise ConfigError(
                f'PPYOLOEHead.branches: expected attention or convs, got {branches!r}'
            )
        self.reg_max, self.num_bins = reg_max, reg_max + 1
        self.branches, self.stacked_convs = branches, stacked_convs
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        common['bbox_coder'] = coder_with_bins(common['bbox_coder'], self.num_bins)
        super().__init__(
            num_classes,
            in_channels,
            extra_losses=dict(loss_dfl=loss_dfl),
            init_cfg=init_cfg,
            **common,
        )

    def _init_layers(self) -> None:
        check_bins(self)
        given = self.in_channels
        widths = [given] * self.num_levels if isinstance(given, int) else list(given)
        if len(widths) != self.num_levels:
            raise ConfigError(
                f'PPYOLOEHead.in_channels: {len(widths)}, but the prior generator has '
                f'{self.num_levels} levels'
            )
        options: dict[str, Any] = dict(
            conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg
        )

        def stem(width: int) -> nn.Module:
            if self.branches == 'attention':
                return AttentionStem(width, options)
            return ConvStem(width, self.stacked_convs, options)

        if self.branches == 'convs':
            self.stems = nn.ModuleList(ConvModule(width, width, 1, **options) for width in widths)
        self.cls_stems = nn.ModuleList(stem(width) for width in widths)
        self.reg_stems = nn.ModuleList(stem(width) for width in widths)
        kernel = 3 if self.branches == 'attention' else 1

        def last(outputs: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv2d(width, outputs, kernel, padding=kernel // 2) for width in widths
            )

        self.pred_cls, self.pred_reg = last(self.cls_out_channels), last(4 * self.num_bins)

    def init_weights(self) -> None:
        """Objects start rare, boxes as their priors, gates half open."""
        super().init_weights()
        for cls, reg in zip(self.pred_cls, self.pred_reg):
            start_rare_classes(cls.get_parameter('bias'), self.num_classes, self.loss_cls)
            with torch.no_grad():
                cls.get_parameter('weight').mul_(0.1)
                reg.get_parameter('weight').mul_(0.1)
            tilt = reg.get_parameter('bias').view(4, self.num_bins)
            start_as_priors(tilt, self.prior_generator)
        if self.branches == 'attention':
            for stem in (*self.cls_stems, *self.reg_stems):
                nn.init.normal_(stem.get_parameter('fc.weight'), std=0.001)
                nn.init.zeros_(stem.get_parameter('fc.bias'))

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """``(B, C, H, W)`` class logits and ``(B, 4 n, H, W)`` logits of the bins."""
        logits, bins = [], []
        for level, x in enumerate(feats):
            if self.branches == 'convs':
                x = self.stems[level](x)
            by_class = self.cls_stems[level](x)
            if self.branches == 'attention':
                by_class = by_class + x
            logits.append(self.pred_cls[level](by_class))
            bins.append(self.pred_reg[level](self.reg_stems[level](x)).float())
        return logits, bins

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Classification by quality; boxes and distributions weighted by it."""
        cls = LossTerm(
            'loss_cls',
            self.loss_cls,
            kind='classification',
            branch='cls',
            normalizer='quality_sum',
        )
        return (cls, *box_terms(self, 'quality'))
