"""GFL's head (Li et al., "Generalized Focal Loss", NeurIPS 2020).

Shapes: B images, A anchors a cell, C classes, n bins a side.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import Scale
from torch import Tensor, nn
from typing_extensions import Unpack

from ..registry import MODELS
from ..structures import LossTerm
from .dense_head import DenseHead
from .initial import start_rare_classes
from .options import BoxHeadOptions
from .side_bins import box_terms, check_bins, coder_with_bins, start_as_priors
from .towers import build_tower

_INIT = dict(
    type='Normal',
    layer='Conv2d',
    std=0.01,
    override=dict(type='Normal', name='gfl_cls', std=0.01, bias_prob=0.01),
)
_NORM = dict(type='GN', num_groups=32, requires_grad=True)


class Integral(nn.Module):
    """The bins of a side, a buffer that published checkpoints hold."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.register_buffer('project', torch.arange(bins, dtype=torch.float32))


@MODELS.register_module()
class GFLHead(DenseHead):
    """RetinaNet's towers; class scores that learn the box's IoU; boxes as distributions.

    The distance to each side is the expectation of a softmax over bins 0 to ``reg_max``,
    in strides (equation 5).

    Losses (equation 8): classification, whose target is the IoU of the predicted box, over
    the number of positives; the box loss on whole boxes and the distribution loss, each
    positive weighted by its highest class score, over the sum of those weights.

    Deviation: sides begin at those of their prior, not at the middle bin, so that no
    assigner that looks at predictions begins with boxes of one size.

    Args:
        num_classes: C.
        in_channels: Channels of the pyramid.
        prior_generator: Anchors, or points, whose centres the distances start from.
        bbox_coder: A ``DistancePointBBoxCoder``; in strides and with ``reg_max + 1`` bins
            unless its node says otherwise.
        loss_bbox: Loss of whole boxes, or of distances.
        loss_dfl: Loss of the distributions; None leaves it out.
        reg_max: The largest distance, n - 1.
        stacked_convs: Layers of each tower.
        feat_channels: Channels of the towers.
        conv_cfg: Convolution of the towers, mmcv's.
        norm_cfg: Norm of the towers, mmcv's.
        norm_per_level: Give each of that many levels norms of its own.
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.

    Raises:
        ConfigError: If the coder has another number of bins than ``reg_max + 1``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        loss_dfl=None,
        reg_max: int = 16,
        stacked_convs: int = 4,
        feat_channels: int = 256,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = _NORM,
        norm_per_level: int | None = None,
        init_cfg=_INIT,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        self.reg_max, self.num_bins = reg_max, reg_max + 1
        self.stacked_convs, self.feat_channels = stacked_convs, feat_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.norm_per_level = norm_per_level
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
        options: dict[str, Any] = dict(
            conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, num_levels=self.norm_per_level
        )
        depth, channels = self.stacked_convs, self.feat_channels
        self.cls_convs = build_tower(self.in_channels, channels, depth, **options)
        self.reg_convs = build_tower(self.in_channels, channels, depth, **options)
        last = channels if depth else self.in_channels
        base = self.prior_generator.num_base_priors[0]
        self.gfl_cls = nn.Conv2d(last, base * self.cls_out_channels, 3, padding=1)
        self.gfl_reg = nn.Conv2d(last, base * 4 * self.num_bins, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(self.num_levels))
        self.integral = Integral(self.num_bins)

    def init_weights(self) -> None:
        """Objects start rare, boxes as their priors."""
        super().init_weights()
        # For a sigmoid init_cfg sets this bias, where a config may change it.
        if self.class_activation != 'sigmoid':
            bias = self.gfl_cls.get_parameter('bias')
            start_rare_classes(bias, self.num_classes, self.loss_cls)
        tilt = self.gfl_reg.get_parameter('bias').view(-1, 4, self.num_bins)
        start_as_priors(tilt, self.prior_generator)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """``(B, A C, H, W)`` class logits and ``(B, A 4 n, H, W)`` logits of the bins."""
        logits, bins = [], []
        for level, (x, scale) in enumerate(zip(feats, self.scales)):
            logits.append(self.gfl_cls(self.cls_convs(x, level)))
            bins.append(scale(self.gfl_reg(self.reg_convs(x, level))).float())
        return logits, bins

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Classification by quality, whole boxes, distributions."""
        cls = LossTerm(
            'loss_cls',
            self.loss_cls,
            kind='classification',
            branch='cls',
            target_quality='iou',
        )
        return (cls, *box_terms(self, 'score'))
