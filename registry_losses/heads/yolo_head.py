"""The heads of YOLOv3, YOLOv4 and YOLOv5: boxes, objectness and classes in one map.

Shapes: B images, A anchors a cell, C classes, L levels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.cnn import ConvModule
from torch import Tensor, nn
from typing_extensions import Unpack

from ..errors import ConfigError
from ..registry import MODELS
from ..structures import HeadOutput, LossTerm, Priors
from ..structures.loss_term import TargetQuality
from .dense_head import DenseHead
from .initial import start_few_objects
from .layouts import Layout, OneMap
from .map_reader import num_outputs
from .options import BoxHeadOptions, DenseHeadOptions
from .prediction import best_of_all

_NORM = dict(type='BN', requires_grad=True)
_ACT = dict(type='LeakyReLU', negative_slope=0.1)


class YOLOHead(DenseHead):
    """What the anchor-based YOLO heads share: one map of 4 + 1 + C values an anchor.

    Candidates are ranked over all levels together, as in the original codes.
    """

    map_names = ('pred',)
    score_factor = 'objectness'
    uses_valid_flags = False
    rank_by_product = True
    """Whether objectness takes part in ranking and thresholding, or only in the score."""
    test_cfg_keys: tuple[str, ...] = (*DenseHead.test_cfg_keys, 'conf_thr', 'multi_label')

    @property
    def objectness_loss(self) -> nn.Module:
        """The loss of the objectness."""
        return self.loss_conf

    @property
    def objectness_channels(self) -> int:
        """See :class:`DenseHead`."""
        return num_outputs(1, self.objectness_loss)

    @property
    def num_attributes(self) -> int:
        """Values of one anchor: box, objectness, classes."""
        return 4 + self.objectness_channels + self.cls_out_channels

    def layout(self) -> Layout:
        """Box, objectness and classes of a prior stand side by side."""
        channels = self.map_channels()
        return OneMap({name: channels[name] for name in ('bbox', 'objectness', 'cls')})

    def candidates(
        self, output: HeadOutput, priors: Priors, image_shapes: Tensor, cfg: Mapping
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best (prior, class) of each image over all levels, decoded and clipped."""
        return best_of_all(
            self.reader,
            output,
            priors,
            limits=None if self.clip_after_nms else image_shapes,
            cfg=cfg,
            rank_by_product=self.rank_by_product,
        )


@MODELS.register_module()
class YOLOV3Head(YOLOHead):
    """The head of YOLOv3 (Redmon and Farhadi 2018), and of YOLOv4 with ``loss_bbox``.

    Losses (section 2 of the paper): objectness over all priors that are not ignored;
    class, centre (BCE) and size (squared error) of the positives only; all sums, not
    means. ``loss_bbox`` in place of ``loss_xy`` and ``loss_wh`` compares whole boxes
    (YOLOv4's CIoU).

    Args:
        num_classes: C.
        in_channels: Channels of each feature map, deepest first.
        prior_generator: Anchors, deepest level first.
        bbox_coder: YOLOv3's.
        loss_cls: Classification loss of the positives.
        loss_conf: Objectness loss.
        loss_xy: Loss of the centres, on encoded boxes.
        loss_wh: Loss of the sizes, on encoded boxes.
        loss_bbox: Loss of whole boxes, in place of the two.
        out_channels: Channels of the bridge convolution of each level.
        conv_cfg: Convolution of the bridges, mmcv's.
        norm_cfg: Norm of the bridges, mmcv's.
        act_cfg: Activation of the bridges, mmcv's.
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`DenseHeadOptions`.
    """

    rank_by_product = False

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        *,
        loss_conf,
        loss_xy=None,
        loss_wh=None,
        loss_bbox=None,
        out_channels: Sequence[int] = (1024, 512, 256),
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = _NORM,
        act_cfg: dict | None = _ACT,
        init_cfg=None,
        **common: Unpack[DenseHeadOptions],
    ) -> None:
        self.out_channels = tuple(out_channels)
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        super().__init__(
            num_classes,
            tuple(in_channels),
            loss_bbox=loss_bbox,
            extra_losses=dict(
                loss_conf=loss_conf,
                loss_xy=None if loss_bbox else loss_xy,
                loss_wh=None if loss_bbox else loss_wh,
            ),
            init_cfg=init_cfg,
            **common,
        )

    def _init_layers(self) -> None:
        bases = self.prior_generator.num_base_priors
        if not len(bases) == len(self.in_channels) == len(self.out_channels):
            raise ConfigError(
                f'{type(self).__name__}: {len(self.in_channels)} in_channels, '
                f'{len(self.out_channels)} out_channels and {len(bases)} levels of anchors; '
                'expected one of each a level'
            )
        options: dict[str, Any] = dict(
            conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg
        )
        self.convs_bridge, self.convs_pred = nn.ModuleList(), nn.ModuleList()
        for inside, outside, base in zip(self.in_channels, self.out_channels, bases):
            self.convs_bridge.append(ConvModule(inside, outside, 3, padding=1, **options))
            self.convs_pred.append(nn.Conv2d(outside, base * self.num_attributes, 1))

    def init_weights(self) -> None:
        """Few objects to begin with: about 8 in an image at each level, class 0.01."""
        super().init_weights()
        strides = self.prior_generator.strides
        for conv, stride, base in zip(
            self.convs_pred, strides, self.prior_generator.num_base_priors
        ):
            nn.init.normal_(conv.get_parameter('weight'), std=0.01)
            bias = conv.get_parameter('bias').view(base, -1)
            start_few_objects(
                bias,
                self.cls_out_channels,
                stride,
                class_loss=self.loss_cls,
                objectness_loss=self.objectness_loss,
            )

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor]]:
        """``(B, A * (5 + C), H, W)`` of each level."""
        layers = zip(self.convs_bridge, self.convs_pred, feats)
        return ([pred(bridge(x)) for bridge, pred, x in layers],)

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Sums: class of the positives, objectness, and boxes."""
        terms = [
            LossTerm(
                'loss_cls',
                self.loss_cls,
                kind='classification',
                branch='cls',
                rows='positives',
                normalizer='none',
                target_quality='one',
            ),
            LossTerm(
                'loss_conf',
                self.loss_conf,
                kind='objectness',
                branch='objectness',
                normalizer='none',
                target_quality='one',
            ),
        ]
        box: dict[str, Any] = dict(branch='bbox', normalizer='none')
        if self.loss_bbox is not None:
            return (*terms, LossTerm('loss_bbox', self.loss_bbox, kind=self.box_kind(), **box))
        box['kind'] = 'box_encoded'
        return (
            *terms,
            LossTerm('loss_xy', self.loss_xy, columns=(0, 2), **box),
            LossTerm('loss_wh', self.loss_wh, columns=(2, 4), **box),
        )


@MODELS.register_module()
class YOLOV5Head(YOLOHead):
    """The head of YOLOv5 (Jocher et al., Ultralytics, release 6.1).

    Losses: class (per pair) and box are means over the pairs of a level, objectness a
    mean over the priors of a level weighted by level; its target is the overlap of the
    prediction with its gt. All are multiplied by the number of images of the step. With a
    single class there is no class term, and the objectness alone is the score, as in the
    original.

    Args:
        num_classes: C.
        in_channels: Channels of each feature map, finest first.
        prior_generator: Anchors, finest level first.
        bbox_coder: YOLOv5's.
        loss_cls: Classification loss of the positives.
        loss_obj: Objectness loss.
        obj_level_weights: Weight of each level in the objectness loss.
        obj_target: What objectness learns: ``ciou`` (the original, with CIoU boxes),
            ``giou``, ``diou``, ``iou``, ``one`` or ``assigned``.
        single_class_loss: Keep the class term where there is one class only.
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.
    """

    clip_after_nms = True

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        *,
        loss_obj,
        obj_level_weights: Sequence[float] = (4.0, 1.0, 0.4),
        obj_target: TargetQuality = 'ciou',
        single_class_loss: bool = False,
        init_cfg=None,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        self.obj_level_weights = tuple(obj_level_weights)
        self.obj_target: TargetQuality = obj_target
        self.has_class_term = num_classes > 1 or single_class_loss
        super().__init__(
            num_classes,
            tuple(in_channels),
            extra_losses=dict(loss_obj=loss_obj),
            init_cfg=init_cfg,
            **common,
        )

    def _init_layers(self) -> None:
        bases = self.prior_generator.num_base_priors
        if len(bases) != len(self.in_channels):
            raise ConfigError(
                f'YOLOV5Head: {len(self.in_channels)} in_channels, {len(bases)} levels of anchors'
            )
        # The published checkpoints keep the layers in a module of this name.
        convs = nn.ModuleList(
            nn.Conv2d(inside, base * self.num_attributes, 1)
            for inside, base in zip(self.in_channels, bases)
        )
        self.head_module = nn.ModuleDict(dict(convs_pred=convs))

    def init_weights(self) -> None:
        """Few objects to begin with: about 8 in an image at each level."""
        super().init_weights()
        strides = self.prior_generator.strides
        for conv, stride, base in zip(self._convs, strides, self.prior_generator.num_base_priors):
            bias = conv.get_parameter('bias').view(base, -1)
            start_few_objects(
                bias,
                self.cls_out_channels,
                stride,
                class_loss=self.loss_cls,
                objectness_loss=self.objectness_loss,
            )

    @property
    def objectness_loss(self) -> nn.Module:
        """The loss of the objectness."""
        return self.loss_obj

    @property
    def _convs(self) -> nn.ModuleList:
        convs = self.head_module['convs_pred']
        assert isinstance(convs, nn.ModuleList)
        return convs

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor]]:
        """``(B, A * (5 + C), H, W)`` of each level."""
        return ([conv(x) for conv, x in zip(self._convs, feats)],)

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Means by level, times the images of the step."""
        by_level: dict[str, Any] = dict(normalizer='level_mean', times_batch=True)
        classes = LossTerm(
            'loss_cls',
            self.loss_cls,
            kind='classification',
            branch='cls',
            rows='positives',
            target_quality='one',
            **by_level,
        )
        return (
            *((classes,) if self.has_class_term else ()),
            LossTerm(
                'loss_obj',
                self.loss_obj,
                kind='objectness',
                branch='objectness',
                target_quality=self.obj_target,
                level_weights=self.obj_level_weights,
                **by_level,
            ),
            LossTerm('loss_bbox', self.loss_bbox, kind=self.box_kind(), branch='bbox', **by_level),
        )
