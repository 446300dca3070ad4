"""CenterNet's head (Zhou et al., "Objects as Points", 2019).

Shapes: B images, C classes; one prior a cell.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Unpack

from ..losses.declared import probabilities
from ..registry import MODELS
from ..structures import HeadOutput, LossTerm, Priors
from .dense_head import DenseHead
from .initial import prior_sides, start_rare_classes
from .layouts import Layout, SplitBoxMaps
from .options import DenseHeadOptions
from .prediction import top_candidates


@MODELS.register_module()
class CenterNetHead(DenseHead):
    """Heatmap of centres, size and offset of the box at each centre.

    Losses (sections 3 and 4): the heatmap's over the number of centres; L1 of size and offset,
    over twice that number (an average over their two components), one gt a cell.
    ``loss_bbox`` in their place compares whole boxes.

    Prediction: local maxima of the heatmap, no NMS.

    Args:
        num_classes: C.
        in_channels: Channels of each feature map.
        prior_generator: Points, one a cell.
        bbox_coder: Offset and size in cells.
        loss_cls: Loss of the heatmap (``loss_center_heatmap`` in OpenMMLab).
        loss_wh: Loss of the sizes, on encoded boxes.
        loss_offset: Loss of the offsets, on encoded boxes.
        loss_bbox: Loss of whole boxes, in place of the two.
        feat_channels: Channels of the hidden layer of each branch.
        test_cfg: ``topk``, ``local_maximum_kernel``, ``max_per_img``, ``score_thr``, and
            ``nms`` where wanted.
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`DenseHeadOptions`.
    """

    map_names = ('cls', 'wh', 'offset')
    uses_valid_flags = False
    test_cfg_keys = ('topk', 'local_maximum_kernel', 'max_per_img', 'score_thr', 'nms')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        loss_wh=None,
        loss_offset=None,
        loss_bbox=None,
        feat_channels: int = 64,
        init_cfg=None,
        **common: Unpack[DenseHeadOptions],
    ) -> None:
        self.feat_channels = feat_channels
        super().__init__(
            num_classes,
            in_channels,
            loss_bbox=loss_bbox,
            extra_losses=dict(
                loss_wh=None if loss_bbox else loss_wh,
                loss_offset=None if loss_bbox else loss_offset,
            ),
            init_cfg=init_cfg,
            **common,
        )

    def _init_layers(self) -> None:
        def branch(channels: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(self.in_channels, self.feat_channels, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(self.feat_channels, channels, 1),
            )

        self.heatmap_head = branch(self.cls_out_channels)
        self.wh_head = branch(2)
        self.offset_head = branch(2)

    def init_weights(self) -> None:
        """Heatmaps start at probability 0.1 everywhere, boxes at those of their priors.

        Sizes from zero, as in the original code, would be boxes without area: no overlap
        loss and no assigner that looks at predictions could begin with them.
        """
        super().init_weights()
        last = self.heatmap_head[-1].get_parameter('bias')
        start_rare_classes(last, self.num_classes, self.loss_cls, 0.1)
        for head in (self.wh_head, self.offset_head):
            for layer in (head[0], head[2]):
                nn.init.normal_(layer.get_parameter('weight'), std=0.001)
                nn.init.zeros_(layer.get_parameter('bias'))
        sizes = self.wh_head[-1].get_parameter('bias')
        with torch.no_grad():
            sizes.copy_(sizes.new_tensor(prior_sides(self.prior_generator)))

    def raw_maps(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """``(B, C, H, W)`` logits, ``(B, 2, H, W)`` sizes and offsets in cells."""
        return (
            [self.heatmap_head(x) for x in feats],
            [self.wh_head(x) for x in feats],
            [self.offset_head(x) for x in feats],
        )

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """:meth:`raw_maps` with the heatmap as probabilities, as OpenMMLab's head."""
        logits, sizes, offsets = self.raw_maps(feats)
        rows = [probabilities(x.permute(0, 2, 3, 1), self.loss_cls) for x in logits]
        return [x.permute(0, 3, 1, 2) for x in rows], sizes, offsets

    def map_channels(self) -> dict[str, int]:
        """Values a prior in each map."""
        return {'cls': self.cls_out_channels, 'wh': 2, 'offset': 2}

    def layout(self) -> Layout:
        """Offset and size side by side are the box."""
        return SplitBoxMaps(self.map_channels(), parts=('offset', 'wh'))

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Heatmap over the centres; size and offset over twice the centres.

        Of several gts in a cell the last one's box is learnt, as in the common
        implementation, but all of them are counted where their classes differ.
        """
        heatmap = LossTerm(
            'loss_center_heatmap',
            self.loss_cls,
            kind='classification',
            branch='cls',
            normalizer='class_positives',
        )
        box: dict[str, Any] = dict(
            branch='bbox', one_per_prior='last', normalizer='class_positives'
        )
        if self.loss_bbox is not None:
            return heatmap, LossTerm('loss_bbox', self.loss_bbox, kind=self.box_kind(), **box)
        # The paper averages over the two components, hence the half.
        box |= dict(kind='box_encoded', factor=0.5)
        return (
            heatmap,
            LossTerm('loss_wh', self.loss_wh, columns=(2, 4), **box),
            LossTerm('loss_offset', self.loss_offset, columns=(0, 2), **box),
        )

    def candidates(
        self, output: HeadOutput, priors: Priors, image_shapes: Tensor, cfg: Mapping
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The highest local maxima of the heatmaps (section 4 of the paper)."""
        boxes, scores, labels = [], [], []
        for start, heat in zip(priors.level_starts, self._peaks(output, priors, cfg)):
            best = top_candidates(
                heat, score_thr=cfg.get('score_thr', -1.0), limit=cfg.get('topk', 100)
            )
            prior_index = best.prior_index + start
            boxes.append(self.reader.boxes_at(output, priors, prior_index, limits=image_shapes))
            scores.append(best.scores)
            labels.append(best.labels)
        return torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(labels, 1)

    def every_box(self, output: HeadOutput, priors: Priors) -> tuple[Tensor, Tensor]:
        """See :class:`DenseHead`; the scores are 0 beside the local maxima."""
        peaks = torch.cat(list(self._peaks(output, priors, self.test_cfg)), dim=1)
        return self.reader.boxes(output, priors), peaks

    def _peaks(self, output: HeadOutput, priors: Priors, cfg: Mapping) -> Iterator[Tensor]:
        """``(B, n, C)`` heat of each level, 0 where it is no local maximum."""
        kernel = cfg.get('local_maximum_kernel', 3)
        for level, start in zip(priors.levels, priors.level_starts):
            heat = output['cls'][:, start : start + level.num_priors, : self.num_classes].float()
            grid = heat.unflatten(1, (level.height, level.width)).permute(0, 3, 1, 2)
            peaks = F.max_pool2d(grid, kernel, stride=1, padding=(kernel - 1) // 2) == grid
            yield heat * peaks.permute(0, 2, 3, 1).flatten(1, 2)
