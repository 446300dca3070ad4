"""TOOD's head (Feng et al., "TOOD: Task-aligned One-stage Object Detection", ICCV 2021).

Shapes: B images, C classes, F channels, n layers, H x W cells; one prior a cell.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from mmcv.cnn import ConvModule, Scale
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Unpack

from ..coders import CornerBBoxCoder
from ..coders.base import MAX_EXPONENT
from ..errors import ConfigError, PairingError
from ..losses.declared import declared
from ..ops import sample_at_offsets
from ..registry import MODELS, TASK_UTILS
from ..structures import HeadOutput, LossTerm, Priors
from .building import build
from .initial import prior_sides, start_rare_classes
from .options import BoxHeadOptions
from .phases import PhasedHead
from .prediction import best_of_levels
from .task_decomposition import LEAST_WIDTH, TaskDecomposition

_NORM = dict(type='GN', num_groups=32, requires_grad=True)
_INIT = dict(type='Normal', layer='Conv2d', std=0.01)
Align = Callable[[Tensor, Tensor], Tensor]


@MODELS.register_module()
class TOODHead(PhasedHead):
    """Shared layers, a view of them for each task, and predictions that the two tasks align.

    A class score is the geometric mean of its own probability and of one that all classes
    of a cell share; each side of a box is read from the box of a cell nearby (section 3.1).
    As in the authors' code the maps of :meth:`forward` are probabilities and corners in
    strides.

    Losses (section 3.2.2): classification, its target the quality that the assigner
    gave, over the sum of the qualities; boxes weighted by that quality, over their sum. In
    the first epochs ``train_cfg.initial_assigner`` assigns: then ``initial_loss_cls``, and
    boxes weighted by centreness.

    Deviations: boxes begin at those of their priors. Losses read the logits of the aligned
    scores, so that every classification loss serves; ``activated=True`` in the node of one,
    as in OpenMMLab's configs, means the same and is dropped. With a softmax loss the shared
    probability multiplies each class's odds against the background.

    Args:
        num_classes: C.
        in_channels: Channels of the pyramid.
        prior_generator: One anchor or point a cell.
        bbox_coder: Between anchors and boxes where ``anchor_type`` is ``anchor_based``; not
            read otherwise.
        loss_cls: Classification loss.
        initial_loss_cls: Classification loss of the first epochs; ``loss_cls`` by default.
        anchor_type: ``anchor_free``: distances from the priors' centres in strides, by exp.
        stacked_convs: n.
        feat_channels: F.
        conv_cfg: Convolution of the layers, mmcv's.
        norm_cfg: Norm of the layers, mmcv's.
        train_cfg: As for :class:`DenseHead`; ``initial_assigner`` and ``initial_epoch``, how
            long it assigns (see :class:`.phases.InitialPhase`).
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.

    Raises:
        ConfigError: If a cell has several priors.
        PairingError: Also if the two classification losses read different outputs.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        initial_loss_cls=None,
        anchor_type: Literal['anchor_free', 'anchor_based'] = 'anchor_free',
        stacked_convs: int = 6,
        feat_channels: int = 256,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = _NORM,
        init_cfg=_INIT,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        if anchor_type not in ('anchor_free', 'anchor_based'):
            raise ConfigError(
                f'TOODHead.anchor_type: expected anchor_free or anchor_based, got {anchor_type!r}'
            )
        if stacked_convs < 1:
            raise ConfigError(f'TOODHead.stacked_convs: expected at least 1, got {stacked_convs}')
        self.anchor_type = anchor_type
        self.stacked_convs, self.feat_channels = stacked_convs, feat_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        first = common.get('bbox_coder')
        if anchor_type == 'anchor_based' and first is None:
            raise ConfigError('TOODHead.bbox_coder: expected a coder for anchor_based, got None')
        self.anchor_coder: Any = build(TASK_UTILS, first, 'bbox_coder')
        common['loss_cls'] = _of_logits(common['loss_cls'])
        # What the losses and predictions decode are boxes already.
        common['bbox_coder'] = CornerBBoxCoder()
        super().__init__(
            num_classes,
            in_channels,
            extra_losses=dict(initial_loss_cls=_of_logits(initial_loss_cls)),
            init_cfg=init_cfg,
            **common,
        )

    def _init_layers(self) -> None:
        if set(self.prior_generator.num_base_priors) != {1}:
            raise ConfigError(
                'TOODHead.prior_generator: expected one prior a cell, got '
                f'{self.prior_generator.num_base_priors}'
            )
        first, after = self.initial_loss_cls, self.loss_cls
        if first is not None and (
            declared(first).class_activation != declared(after).class_activation
        ):
            raise PairingError(
                f'initial_loss_cls: {type(first).__name__} does not read the outputs that loss_cls '
                f'({type(after).__name__}) does ({declared(after).class_activation}); choose one '
                'that does, or leave it out'
            )
        options: dict[str, Any] = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
        channels, depth = self.feat_channels, self.stacked_convs
        self.inter_convs = nn.ModuleList(
            ConvModule(self.in_channels if i == 0 else channels, channels, 3, padding=1, **options)
            for i in range(depth)
        )
        self.cls_decomp = TaskDecomposition(channels, depth, **options)
        self.reg_decomp = TaskDecomposition(channels, depth, **options)
        self.tood_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)
        self.tood_reg = nn.Conv2d(channels, 4, 3, padding=1)

        def from_all(outputs: int) -> nn.Sequential:
            narrow = max(channels // 4, LEAST_WIDTH)
            return nn.Sequential(
                nn.Conv2d(channels * depth, narrow, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(narrow, outputs, 3, padding=1),
            )

        self.cls_prob_module = from_all(1)
        self.reg_offset_module = from_all(8)
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(self.num_levels))

    def init_weights(self) -> None:
        """Objects start rare, boxes as their priors, each side read from its own cell."""
        super().init_weights()
        for module in (*self.cls_decomp.layer_attention, *self.reg_decomp.layer_attention):
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)
        for module in self.reg_offset_module:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)
        bias = self.tood_cls.get_parameter('bias')
        start_rare_classes(bias, self.num_classes, self.loss_cls)
        if self.class_activation != 'softmax':
            shared = self.cls_prob_module[-1].get_parameter('bias')
            with torch.no_grad():
                shared.fill_(float(torch.logit(torch.tensor(0.01))))
                bias.copy_(shared.expand_as(bias))
        if self.anchor_type == 'anchor_free':
            width, height = prior_sides(self.prior_generator)
            sides = self.tood_reg.get_parameter('bias')
            with torch.no_grad():
                sides.copy_((sides.new_tensor((width, height, width, height)) / 2).log())

    # Layers ---------------------------------------------------------------------------

    def raw_maps(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """``(B, C, H, W)`` as ``loss_cls`` reads them, ``(B, 4, H, W)`` corners in strides."""
        return self._maps(feats, self._logits)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """:meth:`raw_maps` with class scores as probabilities, as OpenMMLab's head."""
        return self._maps(feats, self._probabilities)

    def _maps(self, feats: Sequence[Tensor], align: Align) -> tuple[list[Tensor], ...]:
        scores, boxes = [], []
        for level, x in enumerate(feats):
            layers = []
            for conv in self.inter_convs:
                x = conv(x)
                layers.append(x)
            joined = torch.cat(layers, dim=1)
            mean = F.adaptive_avg_pool2d(joined, 1)
            own = self.tood_cls(self.cls_decomp(joined, mean))
            scores.append(align(own.float(), self.cls_prob_module(joined).float()))
            raw = self.tood_reg(self.reg_decomp(joined, mean))
            boxes.append(self._moved(self._boxes(raw, level), self.reg_offset_module(joined)))
        return scores, boxes

    def _logits(self, own: Tensor, shared: Tensor) -> Tensor:
        """Class outputs ``(B, C, H, W)`` aligned by those of the cell ``(B, 1, H, W)``."""
        if self.class_activation == 'softmax':
            aligned = own[:, : self.num_classes] + F.logsigmoid(shared)
            return torch.cat((aligned, own[:, self.num_classes :]), dim=1)
        if self.class_activation == 'identity':
            return self._probabilities(own, shared)
        log_mean = (F.logsigmoid(own) + F.logsigmoid(shared)) / 2
        # 1 - p is 0 in float32 for logits beyond 17; the least number above 0 in its place
        # keeps the logit finite.
        rest = (-torch.expm1(log_mean)).clamp(min=torch.finfo(log_mean.dtype).tiny)
        return log_mean - rest.log()

    def _probabilities(self, own: Tensor, shared: Tensor) -> Tensor:
        """The geometric mean of both probabilities; of a softmax that of :meth:`_logits`."""
        if self.class_activation == 'softmax':
            return self._logits(own, shared).softmax(dim=1)
        return ((F.logsigmoid(own) + F.logsigmoid(shared)) / 2).exp()

    def _boxes(self, raw: Tensor, level: int) -> Tensor:
        """``(B, 4, H, W)`` corners in strides, from what the last convolution gives."""
        height, width = raw.shape[-2:]
        grid = self.prior_generator.level(level, (height, width))
        scale = self.scales[level]
        x, y = grid.stride
        if self.anchor_type == 'anchor_free':
            distances = scale(raw.float().clamp(max=MAX_EXPONENT).exp())
            column = torch.arange(width, device=raw.device) + grid.offset
            row = torch.arange(height, device=raw.device)[:, None] + grid.offset
            left, top, right, bottom = distances.unbind(1)
            return torch.stack((column - left, row - top, column + right, row + bottom), dim=1)
        anchors = self.prior_generator.level_boxes(level, (height, width), raw.device)
        deltas = scale(raw).float().flatten(2).mT  # (B, H W, 4)
        boxes = self.anchor_coder.decode(anchors, deltas, stride=grid.stride)
        boxes = boxes / boxes.new_tensor((x, y, x, y))
        return boxes.mT.unflatten(2, (height, width))

    @staticmethod
    def _moved(boxes: Tensor, offsets: Tensor) -> Tensor:
        """``(B, 4, H, W)``: each side from the cell that its offset points at.

        Sides of different boxes may cross; such a box stays as it was.
        """
        moved = sample_at_offsets(boxes, offsets.float())
        crossed = (moved[:, :2] > moved[:, 2:]).any(dim=1, keepdim=True)
        return torch.where(crossed, boxes, moved)

    # Losses ---------------------------------------------------------------------------

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Classification by quality and boxes weighted by it, over the sums of qualities."""
        cls: dict[str, Any] = dict(kind='classification', branch='cls', normalizer='quality_sum')
        box: dict[str, Any] = dict(branch='bbox', kind=self.box_kind(), pair_weight='quality')
        return (
            LossTerm('loss_cls', self.loss_cls, **cls),
            LossTerm('loss_bbox', self.loss_bbox, normalizer='weight_sum', **box),
        )

    def initial_terms(self) -> tuple[LossTerm, ...]:
        """The terms of the first epochs."""
        cls, box = self.loss_terms
        loss = self.loss_cls if self.initial_loss_cls is None else self.initial_loss_cls
        return replace(cls, loss=loss), replace(box, pair_weight='centerness')

    # Prediction -----------------------------------------------------------------------

    def candidates(
        self, output: HeadOutput, priors: Priors, image_shapes: Tensor, cfg: Mapping
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best priors of each level; the class map holds probabilities."""
        reader = replace(self.reader, activated=True)
        return best_of_levels(reader, output, priors, limits=image_shapes, cfg=cfg)

    def every_box(self, output: HeadOutput, priors: Priors) -> tuple[Tensor, Tensor]:
        """See :class:`DenseHead`; the class map holds probabilities."""
        reader = replace(self.reader, activated=True)
        return reader.boxes(output, priors), reader.ranking_scores(output, priors)


def _of_logits(node: Any) -> Any:
    """A loss's node, without the key by which OpenMMLab's reads this head's probabilities."""
    if isinstance(node, Mapping) and node.get('activated'):
        return {key: value for key, value in node.items() if key != 'activated'}
    return node
