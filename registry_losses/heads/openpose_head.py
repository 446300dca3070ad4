"""OpenPoseHead: confidence maps with a background, and part affinity fields, in stages.

Shapes: B images, V joints, L limbs, S stages, H x W cells.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import fields as fields_of
from typing import Any

import numpy as np
import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..losses.declared import probabilities
from ..pose.fields import limb_fields
from ..pose.joints import joint_table
from ..pose.limb_grouping import LimbGrouping, group_by_limbs
from ..pose.peaks import find_peaks
from ..pose.persons import Persons
from ..registry import MODELS
from ..structures import GroundTruth, LossTerm
from ..structures.priors import Priors
from .initial import start_rare_classes
from .layouts import Maps
from .pose_head import PoseHead

# Cao et al. 2017, figure 3: three 3x3 and a 1x1 convolution before the outputs, then
# five 7x7 and a 1x1 in every later stage.
FIRST_STAGE = dict(kernels=(3, 3, 3, 1), channels=(128, 128, 128, 512))
LATER_STAGE = dict(kernels=(7, 7, 7, 7, 7, 1), channels=(128, 128, 128, 128, 128, 128))


@MODELS.register_module()
class OpenPoseHead(PoseHead):
    """Cao et al., Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields, 2017.

    Every stage predicts V confidence maps, a background map (``1 - max`` of them) and two
    channels a limb: its field. Each later stage sees the features and the maps of the
    stage before. All stages are compared with the same targets (equation 5).

    Args:
        skeleton: Joints and limbs; ``'openpose_18'`` has the paper's 19 limbs.
        in_channels: Channels of the feature map, the first that the neck gives.
        feat_channels: Convolutions 3x3 between features and stages; the paper's are
            256 and 128.
        stages: One dict a stage with ``kernels`` and ``channels`` of the convolutions of
            each of the two branches, before their 1x1 output.
        shared: The two branches of a stage share all but their outputs, which a small
            network can afford less of.
        norm_cfg: Normalisation of the stages' convolutions; the paper has none.
        act_cfg: Their activation.
        half_width: Half the width of a limb, in cells.
        overhang: How far its rectangle goes beyond its ends, in cells; ``half_width`` by
            default, as in the published code, so that a limb shorter than a cell, from
            the nose to an eye, still covers one.
        prior_generator: One stride.
        loss_heatmap: Of the confidence maps.
        loss_background: Of the background map; None: as ``loss_heatmap``.
        loss_field: Of the fields.
        loss_terms: Changes to ``loss_heatmap``, ``loss_background``, ``loss_field``.
        joint_scale: Side of a joint's box over the square root of its person's box area.
        train_cfg: ``assigner``, ``sampler``.
        test_cfg: ``threshold``, ``kernel``, ``limit``, ``refinement`` of the peaks, and
            the fields of :class:`~registry_losses.pose.limb_grouping.LimbGrouping`.
        init_cfg: Weight initialisation.
    """

    map_names = ('confidence', 'field')
    in_channels: int

    def __init__(
        self,
        skeleton='openpose_18',
        in_channels: int = 128,
        *,
        feat_channels: Sequence[int] = (),
        stages: Sequence[Mapping] = (FIRST_STAGE, *(LATER_STAGE,) * 5),
        shared: bool = False,
        norm_cfg: Mapping | None = None,
        act_cfg: Mapping | None = None,
        half_width: float = 1.0,
        overhang: float | None = None,
        prior_generator=None,
        loss_heatmap=None,
        loss_background=None,
        loss_field=None,
        loss_terms: Mapping[str, Mapping] | None = None,
        joint_scale: float = 0.25,
        train_cfg: Mapping | None = None,
        test_cfg: Mapping | None = None,
        init_cfg=None,
    ) -> None:
        if not stages or any(len(s['kernels']) != len(s['channels']) for s in stages):
            raise ConfigError(
                'stages: expected at least one, each with as many kernels as channels, '
                f'got {list(stages)}'
            )
        self.feat_channels = tuple(feat_channels)
        self.stage_cfgs = [dict(stage) for stage in stages]
        self.shared = shared
        self.layer_cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg or dict(type='ReLU'))
        self.half_width = half_width
        self.overhang = half_width if overhang is None else overhang
        mse = dict(type='KeypointMSELoss')
        super().__init__(
            skeleton,
            in_channels,
            prior_generator=prior_generator or dict(type='MlvlPointGenerator', strides=[8]),
            loss_heatmap=loss_heatmap or mse,
            extra_losses=dict(
                loss_background=loss_background or loss_heatmap or mse,
                loss_field=loss_field or dict(type='PAFLoss'),
            ),
            loss_terms=loss_terms,
            joint_scale=joint_scale,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg or dict(type='Normal', layer='Conv2d', std=0.01),
        )

    def map_channels(self) -> dict[str, int]:
        """Values a cell in each branch."""
        limbs = self.skeleton.num_limbs
        return {'heatmap': self.num_classes, 'background': 1, 'field': 2 * limbs}

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Mean squared errors over all cells, summed over the stages (equation 5).

        The background map is one of V + 1 maps that count alike.
        """
        share = 1 / (self.num_classes + 1)
        return (
            LossTerm(
                'loss_heatmap', self.loss_heatmap, kind='heatmap', branch='heatmap',
                normalizer='elements', factor=1 - share,
            ),
            LossTerm(
                'loss_background', self.loss_background, kind='heatmap', branch='background',
                normalizer='elements', factor=share, background=True,
            ),
            LossTerm(
                'loss_field', self.loss_field, kind='field', branch='field',
                normalizer='elements',
            ),
        )  # fmt: skip

    def _init_layers(self) -> None:
        channels = self.in_channels
        layers = []
        for width in self.feat_channels:
            layers.append(ConvModule(channels, width, 3, padding=1, **self.layer_cfg))
            channels = width
        self.feats = nn.Sequential(*layers)
        outputs = {'heatmap': self.num_classes + 1, 'field': 2 * self.skeleton.num_limbs}
        self.stages = nn.ModuleList()
        for number, cfg in enumerate(self.stage_cfgs):
            inputs = channels + (sum(outputs.values()) if number else 0)
            if self.shared:
                trunk, width = self._branch(inputs, cfg)
                parts: dict[str, nn.Module] = {'trunk': trunk}
                parts |= {name: nn.Conv2d(width, out, 1) for name, out in outputs.items()}
            else:
                parts = {}
                for name, out in outputs.items():
                    branch, width = self._branch(inputs, cfg)
                    parts[name] = branch.append(nn.Conv2d(width, out, 1))
            self.stages.append(nn.ModuleDict(parts))

    def _branch(self, channels: int, cfg: Mapping) -> tuple[nn.Sequential, int]:
        layers = nn.Sequential()
        for kernel, width in zip(cfg['kernels'], cfg['channels']):
            layers.append(
                ConvModule(channels, width, kernel, padding=kernel // 2, **self.layer_cfg)
            )
            channels = width
        return layers, channels

    def init_weights(self) -> None:
        """Outputs near 0 (or rare, for a sigmoid), the background near 1."""
        super().init_weights()
        stage: Any
        for stage in self.stages:
            output = stage['heatmap']
            bias = (output if self.shared else output[-1]).bias
            start_rare_classes(bias[:-1], self.num_classes, self.loss_heatmap, prob=0.01)
            start_rare_classes(bias[-1:], 1, self.loss_background, prob=0.99)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Sequence[Tensor], ...]:
        """``(S, B, V + 1, H, W)`` confidence maps and ``(S, B, 2 L, H, W)`` fields."""
        base = self.feats(feats[0])
        x = base
        confidence: list[Tensor] = []
        field: list[Tensor] = []
        stage: Any
        for number, stage in enumerate(self.stages):
            if number:
                x = torch.cat((base, confidence[-1], field[-1]), dim=1)
            if self.shared:
                x = stage['trunk'](x)
            confidence.append(stage['heatmap'](x))
            field.append(stage['field'](x))
        return (torch.stack(confidence),), (torch.stack(field),)

    def split(self, maps: Maps) -> dict[str, Tensor]:
        """The background apart from the joints."""
        confidence, field = maps[0][0], maps[1][0]
        return {
            'heatmap': confidence[..., :-1, :, :],
            'background': confidence[..., -1:, :, :],
            'field': field,
        }

    def dense_targets(self, gt: GroundTruth, priors: Priors) -> dict[str, Tensor]:
        """The limbs' fields, ``(B, N, 2 L)``."""
        level = priors.levels[0]
        maps = limb_fields(
            joint_table(gt, self.num_classes),
            self.skeleton.limbs,
            (level.height, level.width),
            stride=level.stride,
            offset=level.offset,
            half_width=self.half_width,
            overhang=self.overhang,
        )
        return {'field': maps.flatten(-2).transpose(-1, -2)}

    def grouping_keys(self) -> tuple[str, ...]:
        """See :class:`LimbGrouping`."""
        return tuple(field.name for field in fields_of(LimbGrouping))

    def group(self, maps: Maps, cfg: Mapping) -> list[Persons]:
        """Peaks of the last stage, joined by its fields."""
        parts = {name: m[-1] for name, m in self.split(maps).items()}
        heat = probabilities(parts['heatmap'], self.loss_heatmap)
        peaks = find_peaks(heat, **{k: cfg[k] for k in self.peak_keys if k in cfg})
        fields = parts['field'].float().cpu().numpy()
        image, joint, position, score = (
            t.cpu().numpy() for t in (peaks.image, peaks.joint, peaks.position, peaks.score)
        )
        settings = LimbGrouping(**{k: cfg[k] for k in self.grouping_keys() if k in cfg})
        ends = np.searchsorted(image, np.arange(len(fields) + 1))
        stride = np.array(self.prior_generator.strides[0], np.float32)
        persons = []
        for i, (start, end) in enumerate(itertools.pairwise(ends)):
            found = group_by_limbs(
                joint[start:end],
                position[start:end],
                score[start:end],
                fields[i],
                self.skeleton.limbs,
                self.num_classes,
                settings,
            )
            persons.append(self.annotated(found, stride))
        return persons

    def annotated(self, persons: Persons, stride: np.ndarray) -> Persons:
        """In pixels, and only the joints that the annotations know, in their order."""
        points = (persons.keypoints + self.prior_generator.offset) * stride
        found = persons.keypoint_scores > 0
        points = np.where(found[..., None], points, 0).astype(np.float32)
        sources = self.skeleton.sources
        scores = persons.keypoint_scores
        if sources:
            plain = {s[0]: v for v, s in enumerate(sources) if len(s) == 1}
            order = [plain[j] for j in range(len(plain))]
            points, scores = points[:, order], scores[:, order]
        return Persons(points, scores, persons.scores)
