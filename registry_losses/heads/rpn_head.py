"""The region proposal network (Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.1).

Shapes: B images, A anchors a cell, N priors.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Unpack

from ..registry import MODELS
from ..structures import GroundTruth, LossTerm
from .dense_head import DenseHead
from .map_reader import Maps
from .options import BoxHeadOptions
from .terms.loss_inputs import LossInputs

_INIT = dict(type='Normal', layer='Conv2d', std=0.01)


@MODELS.register_module()
class RPNHead(DenseHead):
    """A small network slid over every level: object or not, and a box, for A anchors a cell.

    Losses: classification of the sampled anchors and boxes of the positives, both over the
    number of sampled anchors, negatives included (the paper divides the boxes by the number
    of anchor locations and weighs them by 10, which comes to about the same; OpenMMLab's
    form is this one).

    Every gt counts as the one class "object", whatever its label.

    Args:
        in_channels: Channels of the pyramid.
        num_classes: Must be 1, as in OpenMMLab's configs.
        prior_generator: Anchors.
        bbox_coder: Between anchors and boxes.
        loss_cls: Classification loss; a softmax loss has an output for background beside.
        loss_bbox: Box loss, on encoded or decoded boxes as its kind says.
        feat_channels: Channels of the hidden layer.
        num_convs: Hidden layers.
        test_cfg: ``nms_pre`` best anchors of each level, ``nms`` within each level,
            ``max_per_img``, ``min_bbox_size``, ``score_thr``.
        init_cfg: Weight initialisation, the paper's by default.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 1,
        *,
        feat_channels: int = 256,
        num_convs: int = 1,
        init_cfg=_INIT,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        self.feat_channels, self.num_convs = feat_channels, num_convs
        super().__init__(
            num_classes,
            in_channels,
            init_cfg=init_cfg,
            **common,
        )

    def _init_layers(self) -> None:
        width, base = self.feat_channels, self.prior_generator.num_base_priors[0]
        if self.num_convs == 1:
            self.rpn_conv: nn.Module = nn.Conv2d(self.in_channels, width, 3, padding=1)
        else:
            sides = [self.in_channels] + [width] * (self.num_convs - 1)
            # ReLU follows in `forward`, after the last layer too: twice is once.
            layers = [ConvModule(each, width, 3, padding=1, inplace=False) for each in sides]
            self.rpn_conv = nn.Sequential(*layers)
        self.rpn_cls = nn.Conv2d(width, base * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(width, base * self.map_channels()['bbox'], 1)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """``(B, A, H, W)`` logits and ``(B, A * 4, H, W)`` box codes of each level."""
        hidden = [functional.relu(self.rpn_conv(x)) for x in feats]
        return [self.rpn_cls(x) for x in hidden], [self.rpn_reg(x) for x in hidden]

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Both over the sampled anchors."""
        return tuple(replace(term, normalizer='sampled') for term in super().default_terms())

    def loss_inputs(
        self, maps: Maps, gt: GroundTruth, *, image_ids: Sequence | None = None, pads=None
    ) -> LossInputs:
        """See :meth:`DenseHead.loss_inputs`; every gt is an object."""
        return super().loss_inputs(maps, one_class(gt), image_ids=image_ids, pads=pads)


def one_class(gt: GroundTruth) -> GroundTruth:
    """The ground truth with every label 0: object."""
    return replace(gt, labels=torch.zeros_like(gt.labels))
