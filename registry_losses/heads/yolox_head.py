"""YOLOX's head (Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430).

Shapes: B images, C classes; one prior a cell.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from typing_extensions import Unpack

from ..errors import ConfigError
from ..registry import MODELS
from ..structures import HeadOutput, LossTerm, Priors
from .dense_head import DenseHead
from .initial import prior_sides, start_rare_classes
from .map_reader import num_outputs
from .options import BoxHeadOptions
from .prediction import best_of_all

_NORM = dict(type='BN', momentum=0.03, eps=0.001)
_ACT = dict(type='Swish')


@MODELS.register_module()
class YOLOXHead(DenseHead):
    """Decoupled branches on every level: class, box, objectness; no anchors.

    Losses (section 2): class of the positives, whose target is the IoU of the predicted box;
    objectness over all priors; box of the positives; all over the number of positives. In
    the last epochs L1 on the encoded boxes is added: :attr:`use_l1`, which a
    ``YOLOXModeSwitchHook`` sets.

    Deviation: boxes begin at those of their priors, not at one cell.

    Args:
        num_classes: C.
        in_channels: Channels of every feature map.
        prior_generator: Points, in the centres of their cells.
        bbox_coder: YOLOX's; ``from_corner`` as in the authors' code.
        loss_cls: Classification loss of the positives.
        loss_obj: Objectness loss.
        loss_l1: Loss on encoded boxes, of the last epochs; None leaves it out.
        feat_channels: Channels of the branches.
        stacked_convs: Layers of each branch.
        use_l1: Whether ``loss_l1`` takes part from the beginning.
        conv_cfg: Convolution of the branches, mmcv's.
        norm_cfg: Norm of the branches, mmcv's.
        act_cfg: Activation of the branches, mmcv's.
        test_cfg: ``score_thr``, ``nms``, ``nms_pre``, ``max_per_img``, ``multi_label``.
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.

    Raises:
        ConfigError: If ``use_l1`` is asked for without ``loss_l1``.
    """

    map_names = ('cls', 'bbox', 'objectness')
    score_factor = 'objectness'
    geometric_scores = True
    uses_valid_flags = False
    test_cfg_keys: tuple[str, ...] = (*DenseHead.test_cfg_keys, 'conf_thr', 'multi_label')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        loss_obj,
        loss_l1=None,
        feat_channels: int = 256,
        stacked_convs: int = 2,
        use_l1: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = _NORM,
        act_cfg: dict | None = _ACT,
        init_cfg=None,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        if use_l1 and loss_l1 is None:
            raise ConfigError('YOLOXHead.use_l1: needs loss_l1')
        self.feat_channels, self.stacked_convs = feat_channels, stacked_convs
        self.use_l1 = use_l1
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        super().__init__(
            num_classes,
            in_channels,
            extra_losses=dict(loss_obj=loss_obj, loss_l1=loss_l1),
            init_cfg=init_cfg,
            **common,
        )

    @property
    def objectness_channels(self) -> int:
        """See :class:`DenseHead`."""
        return num_outputs(1, self.loss_obj)

    def _init_layers(self) -> None:
        options: dict[str, Any] = dict(
            conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg
        )

        def branch() -> nn.Sequential:
            channels = [self.in_channels] + [self.feat_channels] * self.stacked_convs
            return nn.Sequential(
                *(ConvModule(a, b, 3, padding=1, **options) for a, b in pairwise(channels))
            )

        def last(outputs: int) -> nn.ModuleList:
            inside = self.feat_channels if self.stacked_convs else self.in_channels
            return nn.ModuleList(nn.Conv2d(inside, outputs, 1) for _ in range(self.num_levels))

        self.multi_level_cls_convs = nn.ModuleList(branch() for _ in range(self.num_levels))
        self.multi_level_reg_convs = nn.ModuleList(branch() for _ in range(self.num_levels))
        self.multi_level_conv_cls = last(self.cls_out_channels)
        self.multi_level_conv_reg = last(4)
        self.multi_level_conv_obj = last(self.objectness_channels)

    def init_weights(self) -> None:
        """Objects and classes start rare, boxes as their priors."""
        super().init_weights()
        sides = [math.log(side) for side in prior_sides(self.prior_generator)]
        for cls, reg, obj in zip(
            self.multi_level_conv_cls, self.multi_level_conv_reg, self.multi_level_conv_obj
        ):
            start_rare_classes(cls.get_parameter('bias'), self.num_classes, self.loss_cls)
            start_rare_classes(obj.get_parameter('bias'), 1, self.loss_obj)
            bias = reg.get_parameter('bias')
            with torch.no_grad():
                reg.get_parameter('weight').mul_(0.1)
                shift = 0.5 if getattr(self.bbox_coder, 'from_corner', False) else 0.0
                bias.copy_(bias.new_tensor((shift, shift, *sides)))

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """``(B, C, H, W)`` logits, ``(B, 4, H, W)`` codes, ``(B, 1, H, W)`` objectness."""
        logits, codes, objectness = [], [], []
        for level, x in enumerate(feats):
            by_box = self.multi_level_reg_convs[level](x)
            logits.append(self.multi_level_conv_cls[level](self.multi_level_cls_convs[level](x)))
            codes.append(self.multi_level_conv_reg[level](by_box))
            objectness.append(self.multi_level_conv_obj[level](by_box))
        return logits, codes, objectness

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Class and box of the positives, objectness of all priors; L1 for the last epochs."""
        terms = [
            LossTerm(
                'loss_cls',
                self.loss_cls,
                kind='classification',
                branch='cls',
                rows='positives',
                target_quality='iou',
            ),
            LossTerm('loss_bbox', self.loss_bbox, kind=self.box_kind(), branch='bbox'),
            LossTerm(
                'loss_obj',
                self.loss_obj,
                kind='objectness',
                branch='objectness',
                target_quality='one',
            ),
        ]
        if self.loss_l1 is not None:
            terms.append(LossTerm('loss_l1', self.loss_l1, kind='box_encoded', branch='bbox'))
        return tuple(terms)

    def active_terms(self) -> tuple[LossTerm, ...]:
        """All terms, or all but L1 before its epochs."""
        if self.use_l1:
            return self.loss_terms
        return tuple(term for term in self.loss_terms if term.loss is not self.loss_l1)

    def candidates(
        self, output: HeadOutput, priors: Priors, image_shapes: Tensor, cfg: Mapping
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The priors with the highest product of class score and objectness."""
        cfg = {'multi_label': False, **cfg}
        return best_of_all(self.reader, output, priors, limits=image_shapes, cfg=cfg)
