"""AEHead: heatmaps of joints, and tags that say which of them are one person.

Shapes: B images, V joints, D tag dimensions, H x W cells.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import fields as fields_of
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..losses.declared import probabilities
from ..pose.peaks import Refinement, find_peaks, refine
from ..pose.persons import Persons
from ..pose.tag_grouping import TagGrouping, fill_missing, group_by_tags, tagged_persons
from ..registry import MODELS
from ..structures import LossTerm
from .initial import start_rare_classes
from .layouts import Maps
from .pose_head import PoseHead


@MODELS.register_module()
class AEHead(PoseHead):
    """Newell et al., Associative Embedding, NeurIPS 2017; several resolutions as HigherHRNet.

    At each resolution V heatmaps; at the first ``tag_levels`` of them also D V tag maps.
    The total loss is that of the source document, ``0.999 Ld + 0.001 Lg``, where the
    losses' weights say so.

    Args:
        skeleton: The joints.
        in_channels: Channels of the feature map of each resolution.
        tag_dim: D.
        tag_levels: Resolutions with tags, the first ones.
        conv_out_channels: 3x3 convolutions before the output.
        norm_cfg: Their normalisation.
        act_cfg: Their activation.
        tag_std: Spread of the tag outputs' first weights. Near 0 the tags of all persons
            are equal, where the push term has no gradient.
        prior_generator: One stride a resolution.
        loss_heatmap: Of the heatmaps.
        loss_tag: Of the tags.
        loss_terms: Changes to ``loss_heatmap``, ``loss_embedding``.
        joint_scale: Side of a joint's box over the square root of its person's box area.
        train_cfg: ``assigner``, ``sampler``.
        test_cfg: ``threshold``, ``kernel``, ``limit``, ``refinement`` of the peaks,
            ``center_shift`` (cells added to every position), and the fields of
            :class:`~registry_losses.pose.tag_grouping.TagGrouping`.
        init_cfg: Weight initialisation.
    """

    map_names = ('heatmap', 'tags')

    def __init__(
        self,
        skeleton='coco_17',
        in_channels: int | Sequence[int] = 32,
        *,
        tag_dim: int = 1,
        tag_levels: int = 1,
        conv_out_channels: Sequence[int] = (),
        norm_cfg: Mapping | None = None,
        act_cfg: Mapping | None = None,
        tag_std: float = 0.001,
        prior_generator=None,
        loss_heatmap=None,
        loss_tag=None,
        loss_terms: Mapping[str, Mapping] | None = None,
        joint_scale: float = 0.25,
        train_cfg: Mapping | None = None,
        test_cfg: Mapping | None = None,
        init_cfg=None,
    ) -> None:
        self.tag_dim = tag_dim
        self.tag_levels = tag_levels
        self.conv_out_channels = tuple(conv_out_channels)
        self.layer_cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg or dict(type='ReLU'))
        self.tag_std = tag_std
        super().__init__(
            skeleton,
            in_channels,
            prior_generator=prior_generator or dict(type='MlvlPointGenerator', strides=[4]),
            loss_heatmap=loss_heatmap or dict(type='KeypointMSELoss', loss_weight=0.999),
            extra_losses=dict(
                loss_tag=loss_tag
                or dict(type='AssociativeEmbeddingLoss', loss_weight=0.001, push_loss_factor=1.0)
            ),
            loss_terms=loss_terms,
            joint_scale=joint_scale,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg or dict(type='Normal', layer='Conv2d', std=0.001),
        )

    def map_channels(self) -> dict[str, int]:
        """Values a cell in each branch."""
        return {'heatmap': self.num_classes, 'tags': self.tag_dim * self.num_classes}

    def default_terms(self) -> tuple[LossTerm, ...]:
        """The mean over all cells, and the grouping loss summed over the images."""
        return (
            LossTerm(
                'loss_heatmap', self.loss_heatmap, kind='heatmap', branch='heatmap',
                normalizer='elements',
            ),
            LossTerm(
                'loss_embedding', self.loss_tag, kind='embedding', branch='tags',
                normalizer='none',
            ),
        )  # fmt: skip

    def _init_layers(self) -> None:
        widths = self.in_channels
        widths = [widths] * self.num_levels if isinstance(widths, int) else list(widths)
        if len(widths) != self.num_levels or not 1 <= self.tag_levels <= self.num_levels:
            raise ConfigError(
                f'expected in_channels for each of {self.num_levels} strides and tag_levels of '
                f'at least 1, got {widths} and {self.tag_levels}'
            )
        convs, outputs = nn.ModuleList(), nn.ModuleList()
        for level, channels in enumerate(widths):
            layers = nn.Sequential()
            for width in self.conv_out_channels:
                layers.append(ConvModule(channels, width, 3, padding=1, **self.layer_cfg))
                channels = width
            convs.append(layers)
            outputs.append(nn.Conv2d(channels, self._outputs(level), 1))
        # One resolution has MMPose's names.
        single = self.num_levels == 1
        self.conv_layers = convs[0] if single else convs
        self.final_layer = outputs[0] if single else outputs

    def _outputs(self, level: int) -> int:
        channels = self.map_channels()
        return channels['heatmap'] + (channels['tags'] if level < self.tag_levels else 0)

    def _layers(self) -> list[tuple[Any, Any]]:
        """Convolutions and output of each resolution."""
        convs: Any = self.conv_layers
        outputs: Any = self.final_layer
        return [(convs, outputs)] if self.num_levels == 1 else list(zip(convs, outputs))

    def init_weights(self) -> None:
        """Heatmaps near 0 (or rare, for a sigmoid); tags apart."""
        super().init_weights()
        v = self.num_classes
        for level, (_, output) in enumerate(self._layers()):
            start_rare_classes(output.bias[:v], v, self.loss_heatmap, prob=0.01)
            if level < self.tag_levels:
                nn.init.normal_(output.weight[v:], std=self.tag_std)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Sequence[Tensor], ...]:
        """``(B, V, H, W)`` heatmaps and ``(B, D V, H, W)`` tags, one of each a resolution."""
        heatmaps, tags = [], []
        for level, (conv, output) in enumerate(self._layers()):
            maps = output(conv(feats[level]))
            heatmaps.append(maps[:, : self.num_classes])
            if level < self.tag_levels:
                tags.append(maps[:, self.num_classes :])
        return tuple(heatmaps), tuple(tags)

    def grouping_keys(self) -> tuple[str, ...]:
        """See :class:`TagGrouping`."""
        return ('center_shift', *(field.name for field in fields_of(TagGrouping)))

    def group(self, maps: Maps, cfg: Mapping) -> list[Persons]:
        """Peaks of the heatmaps, averaged over resolutions at the finest, grouped by tags."""
        finest = max(range(self.num_levels), key=lambda i: maps[0][i].shape[-1])
        size = maps[0][finest].shape[-2:]
        heat = self._averaged([probabilities(m, self.loss_heatmap) for m in maps[0]], size)
        tags = torch.cat([_resized(m.float(), size) for m in maps[1]], dim=1)
        tags = tags.unflatten(1, (-1, self.num_classes))  # (B, D, V, H, W)
        peaks = find_peaks(heat, **{k: cfg[k] for k in self.peak_keys if k in cfg})
        x, y = peaks.cell.unbind(1)
        at_peaks = tags[peaks.image, :, peaks.joint, y, x]  # (Q, D)
        image, joint, position, score, tag = (
            t.cpu().numpy()
            for t in (peaks.image, peaks.joint, peaks.position, peaks.score, at_peaks)
        )
        heat, tags = heat.cpu(), tags.cpu()
        names = self.grouping_keys()[1:]
        settings = TagGrouping(**{k: cfg[k] for k in names if k in cfg})
        stride = np.array(self.prior_generator.strides[finest], np.float32)
        shift = np.float32(self.prior_generator.offset + cfg.get('center_shift', 0.0))
        ends = np.searchsorted(image, np.arange(len(heat) + 1))
        persons = []
        for i, (start, end) in enumerate(itertools.pairwise(ends)):
            mine = slice(start, end)
            points, scores, certainty = self._one_image(
                joint[mine], position[mine], score[mine], tag[mine], heat[i], tags[i], cfg, settings
            )
            points = np.where((scores > 0)[..., None], (points + shift) * stride, 0)
            persons.append(tagged_persons(points, scores, certainty, settings))
        return persons

    def _one_image(
        self, joint, position, score, tag, heat: Tensor, tags: Tensor, cfg: Mapping,
        settings: TagGrouping,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        """``(n, V, 2)`` positions in cells, ``(n, V)`` scores, ``(n,)`` the persons'."""
        peaks, mean, count = group_by_tags(joint, position, score, tag, self.num_classes, settings)
        peaks, mean = peaks[count >= settings.min_joints], mean[count >= settings.min_joints]
        found = peaks >= 0
        points = np.zeros((*peaks.shape, 2), np.float32)
        scores = np.zeros(peaks.shape, np.float32)
        points[found], scores[found] = position[peaks[found]], score[peaks[found]]
        # A joint that had to be looked for says nothing about whether there is a person.
        certainty = scores.mean(axis=1)
        if settings.fill_missing and len(peaks):
            person, kind, cell, value = fill_missing(
                peaks, mean, heat.numpy(), tags.transpose(0, 1).numpy(), settings
            )
            y, x = np.divmod(cell, heat.shape[-1])
            plane, row, column = (torch.from_numpy(np.ascontiguousarray(v)) for v in (kind, y, x))
            # Such a place is seldom a peak: only what stays within the cell is safe.
            method: Refinement = 'none'
            if cfg.get('refinement', 'log_parabola') == 'log_parabola':
                method = 'log_parabola'
            shift = refine(heat, plane, row, column, method)
            points[person, kind] = np.stack([x, y], 1) + shift.numpy()
            scores[person, kind] = value
        return points, scores, certainty

    def _averaged(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """The mean over resolutions, at one size."""
        if len(maps) == 1:
            return maps[0]
        return torch.stack([_resized(m, size) for m in maps]).mean(dim=0)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode='bilinear', align_corners=False)
