"""The layers of the second stage: from pooled features to classes and boxes.

Shapes: R regions, C classes, P x Q bins a region, D features of a region.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import MODELS, TASK_UTILS
from ..structures import LossTerm
from .building import build
from .map_reader import num_outputs
from .terms.pairing import change_terms, kind_of_box_loss

_CODER = dict(
    type='DeltaXYWHBBoxCoder',
    clip_border=True,
    target_means=(0.0, 0.0, 0.0, 0.0),
    target_stds=(0.1, 0.1, 0.2, 0.2),
)
_LOSS_CLS = dict(type='CrossEntropyLoss', use_sigmoid=False)
_LOSS_BBOX = dict(type='SmoothL1Loss', beta=1.0)


@MODELS.register_module()
class ConvFCBBoxHead(BaseModule):
    """Convolutions and fully connected layers, shared and of each branch.

    ``shared convs -> shared fcs -> (cls convs -> cls fcs -> cls, reg convs -> reg fcs -> reg)``.
    Girshick, Fast R-CNN, ICCV 2015; the names of layers are OpenMMLab's.

    Args:
        num_shared_convs, num_shared_fcs: Layers of both branches.
        num_cls_convs, num_cls_fcs: Further layers of the classification branch.
        num_reg_convs, num_reg_fcs: Further layers of the box branch.
        conv_out_channels: Width of the convolutions.
        fc_out_channels: Width of the fully connected layers.
        conv_cfg: Convolution, mmcv's.
        norm_cfg: Norm of the convolutions, mmcv's.
        with_avg_pool: Average the bins before the first fully connected layer.
        roi_feat_size: Bins a side, or (rows, columns).
        in_channels: Channels of the pooled features.
        num_classes: C, without background.
        bbox_coder: Between proposals and boxes.
        reg_class_agnostic: One box a region in place of one for each class.
        loss_cls: Classification loss. A softmax loss gives the head a background class.
        loss_bbox: Box loss, on encoded or decoded boxes as its kind says.
        loss_terms: Changes to the loss terms, see :class:`DenseHead`.
        init_cfg: Weight initialisation, OpenMMLab's by default.

    Raises:
        ConfigError: If the head would have no use for a number.
    """

    def __init__(
        self,
        *,
        num_shared_convs: int = 0,
        num_shared_fcs: int = 0,
        num_cls_convs: int = 0,
        num_cls_fcs: int = 0,
        num_reg_convs: int = 0,
        num_reg_fcs: int = 0,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        with_avg_pool: bool = False,
        roi_feat_size: int | Sequence[int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder=_CODER,
        reg_class_agnostic: bool = False,
        loss_cls=_LOSS_CLS,
        loss_bbox=_LOSS_BBOX,
        loss_terms: Mapping[str, Mapping] | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_classes < 1:
            raise ConfigError(f'num_classes: expected at least 1, got {num_classes}')
        self.num_classes = num_classes
        self._changes = dict(loss_terms or {})
        self.reg_class_agnostic = reg_class_agnostic
        self.bbox_coder = build(TASK_UTILS, bbox_coder, 'bbox_coder')
        self.loss_cls = build(MODELS, loss_cls, 'loss_cls')
        self.loss_bbox = build(MODELS, loss_bbox, 'loss_bbox')
        self.cls_out_channels = num_outputs(num_classes, self.loss_cls)
        size = (roi_feat_size,) * 2 if isinstance(roi_feat_size, int) else tuple(roi_feat_size)
        self.roi_feat_size: tuple[int, int] = (size[0], size[1])
        self.with_avg_pool = with_avg_pool
        self._options: dict[str, Any] = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        widths = (conv_out_channels, fc_out_channels)
        area = 1 if with_avg_pool else size[0] * size[1]
        self.shared_convs, self.shared_fcs, shared, flat = self._branch(
            num_shared_convs, num_shared_fcs, in_channels, area, widths, flat=False
        )
        self.cls_convs, self.cls_fcs, cls_in, cls_flat = self._branch(
            num_cls_convs, num_cls_fcs, shared, area, widths, flat=flat
        )
        self.reg_convs, self.reg_fcs, reg_in, reg_flat = self._branch(
            num_reg_convs, num_reg_fcs, shared, area, widths, flat=flat
        )
        boxes = 1 if reg_class_agnostic else num_classes
        code = self.bbox_coder.encode_size
        self.fc_cls = nn.Linear(cls_in if cls_flat else cls_in * area, self.cls_out_channels)
        self.fc_reg = nn.Linear(reg_in if reg_flat else reg_in * area, boxes * code)

    def _branch(
        self,
        convs: int,
        fcs: int,
        channels: int,
        area: int,
        widths: tuple[int, int],
        *,
        flat: bool,
    ) -> tuple[nn.ModuleList, nn.ModuleList, int, bool]:
        """Layers, their output width, and whether that is a vector already."""
        if convs and flat:
            raise ConfigError('convolutions cannot follow shared fully connected layers')
        conv_layers, fc_layers = nn.ModuleList(), nn.ModuleList()
        for _ in range(convs):
            conv_layers.append(ConvModule(channels, widths[0], 3, padding=1, **self._options))
            channels = widths[0]
        for _ in range(fcs):
            fc_layers.append(nn.Linear(channels if flat else channels * area, widths[1]))
            channels, flat = widths[1], True
        return conv_layers, fc_layers, channels, flat

    def init_weights(self) -> None:
        """As OpenMMLab: hidden layers by Xavier, outputs near 0, unless ``init_cfg`` is given."""
        if self.init_cfg is None and not self.is_init:
            for fcs in (self.shared_fcs, self.cls_fcs, self.reg_fcs):
                for layer in fcs:
                    nn.init.xavier_uniform_(layer.get_parameter('weight'))
                    nn.init.zeros_(layer.get_parameter('bias'))
            for layer, std in ((self.fc_cls, 0.01), (self.fc_reg, 0.001)):
                nn.init.normal_(layer.weight, std=std)
                nn.init.zeros_(layer.bias)
        super().init_weights()

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """``(R, C or C + 1)`` class logits and ``(R, C * 4)`` (or ``(R, 4)``) box codes."""
        shared = self._run(pooled, self.shared_convs, self.shared_fcs)
        cls = self._run(shared, self.cls_convs, self.cls_fcs, last=True)
        reg = self._run(shared, self.reg_convs, self.reg_fcs, last=True)
        return self.fc_cls(cls), self.fc_reg(reg)

    def _run(
        self, x: Tensor, convs: nn.ModuleList, fcs: nn.ModuleList, *, last: bool = False
    ) -> Tensor:
        for conv in convs:
            x = conv(x)
        if x.dim() > 2 and (len(fcs) or last):
            x = x.mean(dim=(2, 3)) if self.with_avg_pool else x.flatten(1)
        for layer in fcs:
            x = layer(x).relu()
        return x

    def loss_terms(self) -> tuple[LossTerm, ...]:
        """Classification of the sampled regions, boxes of the positives.

        Both over the number of sampled regions, negatives included (Fast R-CNN, eq. 1), and
        then as the config changes them.
        """
        name = type(self).__name__
        kind = self._changes.get('loss_bbox', {}).get('kind')
        kind = kind or kind_of_box_loss(self.loss_bbox, f'{name}.loss_bbox')
        sampled: dict[str, Any] = dict(normalizer='sampled')
        stated = (
            LossTerm('loss_cls', self.loss_cls, kind='classification', branch='cls', **sampled),
            LossTerm('loss_bbox', self.loss_bbox, kind=kind, branch='bbox', **sampled),
        )
        return change_terms(stated, self._changes, name)


@MODELS.register_module()
class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two fully connected layers, then class and box (Lin et al., FPN, CVPR 2017, 4.2).

    Args:
        fc_out_channels: Width of the layers.
        in_channels: Channels of the pooled features.
        roi_feat_size: Bins a side, or (rows, columns).
        num_classes: C, without background.
        bbox_coder: Between proposals and boxes.
        reg_class_agnostic: One box a region in place of one for each class.
        loss_cls: Classification loss.
        loss_bbox: Box loss.
        with_avg_pool: Average the bins first.
        loss_terms: Changes to the loss terms, see :class:`DenseHead`.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        *,
        fc_out_channels: int = 1024,
        in_channels: int = 256,
        roi_feat_size: int | Sequence[int] = 7,
        num_classes: int = 80,
        bbox_coder=_CODER,
        reg_class_agnostic: bool = False,
        loss_cls=_LOSS_CLS,
        loss_bbox=_LOSS_BBOX,
        loss_terms: Mapping[str, Mapping] | None = None,
        with_avg_pool: bool = False,
        init_cfg=None,
    ) -> None:
        super().__init__(
            num_shared_fcs=2,
            fc_out_channels=fc_out_channels,
            in_channels=in_channels,
            roi_feat_size=roi_feat_size,
            num_classes=num_classes,
            bbox_coder=bbox_coder,
            reg_class_agnostic=reg_class_agnostic,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            loss_terms=loss_terms,
            with_avg_pool=with_avg_pool,
            init_cfg=init_cfg,
        )


@MODELS.register_module()
class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four convolutions and a fully connected layer (Wu & He, Group Normalization, 2018).

    Args:
        conv_out_channels: Width of the convolutions.
        fc_out_channels: Width of the fully connected layer.
        in_channels: Channels of the pooled features.
        roi_feat_size: Bins a side, or (rows, columns).
        num_classes: C, without background.
        bbox_coder: Between proposals and boxes.
        reg_class_agnostic: One box a region in place of one for each class.
        loss_cls: Classification loss.
        loss_bbox: Box loss.
        conv_cfg: Convolution, mmcv's.
        norm_cfg: Norm, mmcv's.
        loss_terms: Changes to the loss terms, see :class:`DenseHead`.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        *,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        in_channels: int = 256,
        roi_feat_size: int | Sequence[int] = 7,
        num_classes: int = 80,
        bbox_coder=_CODER,
        reg_class_agnostic: bool = False,
        loss_cls=_LOSS_CLS,
        loss_bbox=_LOSS_BBOX,
        loss_terms: Mapping[str, Mapping] | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(
            num_shared_convs=4,
            num_shared_fcs=1,
            conv_out_channels=conv_out_channels,
            fc_out_channels=fc_out_channels,
            in_channels=in_channels,
            roi_feat_size=roi_feat_size,
            num_classes=num_classes,
            bbox_coder=bbox_coder,
            reg_class_agnostic=reg_class_agnostic,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            loss_terms=loss_terms,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
        )
