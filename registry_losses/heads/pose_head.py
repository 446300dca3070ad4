"""PoseHead: what every bottom-up pose head does, once.

Each labelled joint is an instance, so that any assigner places the positives of the
heatmaps; a head adds what groups joints into persons: tags or limb fields.

Shapes: B images, N priors of a level, V joints, S stages, H x W cells.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..assigners.ignore_regions import regions_not_annotated
from ..losses.declared import probabilities
from ..pose.joints import joint_instances
from ..pose.persons import Persons, as_instances
from ..registry import MODELS, TASK_UTILS
from ..structures import (
    Assignment,
    Branch,
    DetDataSample,
    GroundTruth,
    HeadOutput,
    LossTerm,
    Predictions,
)
from ..structures.priors import Priors
from ..structures.skeleton import Skeleton, find_skeleton
from .building import build, pad_shapes
from .layouts import Maps
from .learning import LearningHead
from .terms.evaluation import evaluate_terms
from .terms.loss_inputs import LossInputs
from .terms.pairing import Pairing, change_terms, check_pairing


class PoseHead(LearningHead):
    """Base class of the heads that find joints and group them.

    A subclass gives :meth:`_init_layers`, :meth:`forward` (for each name of
    :attr:`map_names` one map a resolution, with a stage axis before the images where there
    are stages), :meth:`default_terms` and :meth:`group`.

    Args:
        skeleton: A :class:`Skeleton` or the name of one (``'coco_17'``, ``'openpose_18'``).
        in_channels: Channels of each input feature map.
        prior_generator: Config node of a ``MlvlPointGenerator``, one stride a resolution.
        loss_heatmap: Loss of the heatmaps; its activation says how they are read.
        extra_losses: A subclass's further losses, attribute name to config node.
        loss_terms: Changes to the loss terms, by name.
        joint_scale: Side of a joint's box over the square root of its person's box area.
        train_cfg: ``assigner``, ``sampler``.
        test_cfg: How peaks are found and grouped; see the subclass.
        init_cfg: Weight initialisation.

    Raises:
        PairingError: If assigner, sampler and losses cannot work together.
        ConfigError: If ``train_cfg`` or ``test_cfg`` hold a key that nothing reads.
    """

    map_names: tuple[str, ...]
    """The maps of ``forward``, in order."""
    peak_keys: tuple[str, ...] = ('threshold', 'kernel', 'limit', 'refinement')
    """Keys of ``test_cfg`` that :func:`~registry_losses.pose.peaks.find_peaks` takes."""
    num_bins = 0
    uses_valid_flags = True

    def __init__(
        self,
        skeleton: Skeleton | str,
        in_channels: int | Sequence[int],
        *,
        prior_generator,
        loss_heatmap,
        extra_losses: Mapping[str, object] | None = None,
        loss_terms: Mapping[str, Mapping] | None = None,
        joint_scale: float = 0.25,
        train_cfg: Mapping | None = None,
        test_cfg: Mapping | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.skeleton = find_skeleton(skeleton)
        self.num_classes = self.skeleton.num_joints
        self.in_channels = in_channels
        self.joint_scale = joint_scale
        self.prior_generator = build(TASK_UTILS, prior_generator, 'prior_generator')
        self.bbox_coder = None
        self.loss_heatmap = build(MODELS, loss_heatmap, 'loss_heatmap')
        for name, node in (extra_losses or {}).items():
            setattr(self, name, build(MODELS, node, name))
        self._set_learning(train_cfg, test_cfg, (*self.peak_keys, *self.grouping_keys()))
        self._init_layers()
        self.loss_terms = change_terms(self.default_terms(), loss_terms or {}, type(self).__name__)
        check_pairing(self)

    @property
    def cls_out_channels(self) -> int:
        """Heatmaps: one a joint; a background map is a branch of its own."""
        return self.num_classes

    # What a head gives ---------------------------------------------------------------

    @abstractmethod
    def _init_layers(self) -> None:
        """Create the layers."""

    @abstractmethod
    def forward(self, feats: Sequence[Tensor]) -> tuple[Sequence[Tensor], ...]:
        """Raw maps: one sequence a name of :attr:`map_names`, one map a resolution."""

    @abstractmethod
    def default_terms(self) -> tuple[LossTerm, ...]:
        """The losses of this head as its paper has them."""

    @abstractmethod
    def grouping_keys(self) -> tuple[str, ...]:
        """Keys of ``test_cfg`` that say how joints are grouped."""

    @abstractmethod
    def group(self, maps: Maps, cfg: Mapping) -> list[Persons]:
        """The persons of each image, in pixels of the input."""

    def dense_targets(self, gt: GroundTruth, priors: Priors) -> dict[str, Tensor]:
        """Targets for every prior that no assigner places, by branch: ``(B, N, D)``."""
        return {}

    # Views of the raw maps ------------------------------------------------------------

    @property
    def num_levels(self) -> int:
        """Resolutions of the heatmaps."""
        return self.prior_generator.num_levels

    def at_level(self, maps: Maps, level: int) -> Maps:
        """The maps of one resolution; names that it lacks have none."""
        return tuple(tuple(per_name[level : level + 1]) for per_name in maps)

    def split(self, maps: Maps) -> dict[str, Tensor]:
        """The branches of one resolution, ``(..., B, D, H, W)``, by name."""
        return {name: m[0] for name, m in zip(self.map_names, maps) if len(m)}

    def flatten(self, maps: Maps) -> HeadOutput:
        """The raw maps of one resolution to ``(B, N, D)`` branches, with stages in front."""
        branches = {}
        for name, level_map in self.split(maps).items():
            rows = level_map.flatten(-2).transpose(-1, -2)  # (..., B, N, D)
            branches[name] = Branch(rows)
        height, width = maps[0][0].shape[-2:]
        return HeadOutput(branches, (height * width,))

    def priors(
        self,
        maps: Maps,
        pads: Tensor | None = None,
        contents: Tensor | None = None,
        *,
        level: int = 0,
    ) -> Priors:
        """The cells of one resolution as priors."""
        whole = self.prior_generator
        alone = type(whole)(
            [tuple(whole.strides[level])], offset=whole.offset, box_scale=whole.box_scale
        )
        size = tuple(maps[0][0].shape[-2:])
        return alone([size], device=maps[0][0].device, image_sizes=pads)

    def scores(self, output: HeadOutput) -> Tensor:
        """``(B, N, V)`` probabilities of the last stage, detached."""
        last = output.branches['heatmap'].stages()[-1]
        return probabilities(last.detach(), self.loss_heatmap)[..., : self.num_classes]

    def predictions(self, output: HeadOutput, priors: Priors) -> Predictions:
        """Scores of every prior, detached; joints have no boxes but those of their priors."""
        boxes = priors.boxes.expand(output.batch_size, -1, -1)
        return Predictions(boxes=boxes, scores=self.scores(output))

    def readable_maps(self, maps: Maps, level: int = 0) -> dict[str, Tensor]:
        """``(B, D, H, W)`` float32 of each branch of the last stage, heatmaps as probabilities."""
        parts = {}
        for name, part in self.split(self.at_level(maps, level)).items():
            last = (part[-1] if part.dim() == 5 else part).detach().float()
            heat = name in ('heatmap', 'background')
            parts[name] = probabilities(last, self.loss_heatmap) if heat else last
        return parts

    # Training -------------------------------------------------------------------------

    def ground_truth(
        self, samples: Sequence[DetDataSample], device: torch.device | str | None = None
    ) -> GroundTruth:
        """Each labelled joint of the samples as an instance."""
        least = min(min(stride) for stride in self.prior_generator.strides)
        return joint_instances(
            samples,
            self.skeleton,
            joint_scale=self.joint_scale,
            min_side=2.0 * least,
            device=device,
        )

    def loss(
        self, feats: Sequence[Tensor], batch_data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """The training losses of a batch, one scalar a term, summed over resolutions."""
        return self.loss_by_feat(*self(feats), batch_data_samples=batch_data_samples)

    def loss_by_feat(
        self, *maps: Sequence[Tensor], batch_data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """:meth:`loss` from raw maps."""
        gt = self.ground_truth(batch_data_samples, device=maps[0][0].device)
        ids = [sample.metainfo.get('img_id', i) for i, sample in enumerate(batch_data_samples)]
        pads = pad_shapes([sample.metainfo for sample in batch_data_samples])
        total: dict[str, Tensor] = {}
        # Resolutions, one or two, are assigned independently: each finds every joint.
        for level in range(self.num_levels):
            inputs = self.loss_inputs(maps, gt, image_ids=ids, pads=pads, level=level)
            terms = [term for term in self.loss_terms if term.branch in inputs.output]
            for name, value in evaluate_terms(terms, inputs).items():
                total[name] = total[name] + value if name in total else value
        return total

    def loss_inputs(
        self,
        maps: Maps,
        gt: GroundTruth,
        *,
        image_ids: Sequence | None = None,
        pads: Tensor | None = None,
        level: int = 0,
    ) -> LossInputs:
        """Flatten one resolution, make its priors, assign and sample.

        Args:
            maps: Raw maps as :meth:`forward` returns them.
            gt: The joints of the batch.
            image_ids: B ids that key the sampler's randomness.
            pads: ``(B, 2)`` height and width of each image with its own padding.
            level: Which resolution.
        """
        here = self.at_level(maps, level)
        output = self.flatten(here)
        priors = self.priors(here, pads if self.uses_valid_flags else None, level=level)
        ignored = regions_not_annotated(priors, gt)
        inputs = LossInputs(
            output,
            priors,
            gt,
            Assignment.empty(gt.batch_size, priors.num_priors, gt.device),
            None,
            self.num_classes,
            dense_targets=self.dense_targets(gt, priors),
            region_ignored=ignored,
        )
        return replace(inputs, assignment=self.assign(inputs, image_ids), _cache={})

    def pairing(self) -> Pairing:
        """The parts of this head that have to go together."""
        return Pairing(
            head=type(self).__name__,
            terms=self.loss_terms,
            assigner=self.assigner,
            sampler=self.sampler,
            num_classes=self.num_classes,
            channels=self.map_channels(),
            num_levels=self.num_levels,
        )

    # Prediction -----------------------------------------------------------------------

    def predict(
        self,
        feats: Sequence[Tensor],
        batch_data_samples: Sequence[DetDataSample],
        rescale: bool = True,
    ) -> list[InstanceData]:
        """Persons of a batch."""
        metas = [sample.metainfo for sample in batch_data_samples]
        return self.predict_by_feat(*self(feats), batch_img_metas=metas, rescale=rescale)

    @torch.no_grad()
    def predict_by_feat(
        self,
        *maps: Sequence[Tensor],
        batch_img_metas: Sequence[Mapping],
        cfg: Mapping | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Persons from raw maps.

        Args:
            *maps: As :meth:`forward` returns them.
            batch_img_metas: B dicts with, to rescale, ``scale_factor`` and ``pad_param``.
            cfg: In place of ``test_cfg``.
            rescale: Give keypoints in pixels of the original image.
            with_nms: Kept for the common call; persons need no NMS.

        Returns:
            B ``InstanceData`` with ``keypoints (n, V, 2)``, ``keypoint_scores (n, V)``,
            ``scores (n,)``, ``bboxes (n, 4)`` around the joints found, ``labels (n,)``.
        """
        cfg = self.test_cfg if cfg is None else cfg
        persons = self.group(maps, cfg)
        return [
            as_instances(each, meta, rescale=rescale)
            for each, meta in zip(persons, batch_img_metas)
        ]
