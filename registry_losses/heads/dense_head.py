"""DenseHead: what every single-stage head does, once.

A head is its layers, its prior generator, its coder and its loss terms. Here
stand flattening, decoding, calling assigner and sampler, losses, top-k and NMS.

Shapes: B images, N priors, C classes, L levels.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..errors import ConfigError
from ..losses.declared import declared
from ..registry import MODELS, TASK_UTILS
from ..structures import Assignment, DetDataSample, GroundTruth, HeadOutput, LossTerm, Priors
from ..structures.loss_term import Kind
from .building import build, pad_shapes
from .layouts import Layout, Maps, SeparateMaps
from .learning import LearningHead
from .map_reader import MapReader, num_outputs
from .prediction import AfterNMS, best_of_levels, detections
from .terms.evaluation import evaluate_terms
from .terms.loss_inputs import LossInputs
from .terms.pairing import (
    Pairing,
    change_terms,
    check_pairing,
    kind_of_box_loss,
)


class DenseHead(LearningHead):
    """Base class of the heads that predict on every cell of a feature pyramid.

    A subclass gives :meth:`_init_layers`, :meth:`forward` (raw maps, one sequence a
    name of :attr:`map_names`, one map a level) and :meth:`default_terms`. It sets its own
    plain attributes before it calls ``super().__init__``, which uses them.

    Args:
        num_classes: C, without background.
        in_channels: Channels of each input feature map.
        prior_generator: Config node or object that makes the priors.
        bbox_coder: Config node or object between boxes and what the head predicts.
        loss_cls: Classification loss. A softmax loss gives the head a background class.
        loss_bbox: Box loss, on encoded or decoded boxes as its kind says.
        extra_losses: A subclass's further losses, attribute name to config node.
        loss_terms: Changes to the loss terms, by name:
            ``dict(loss_cls=dict(normalizer='quality_sum'))``.
        train_cfg: ``assigner``, ``sampler``, ``allowed_border``.
        test_cfg: ``nms_pre``, ``score_thr``, ``min_bbox_size``, ``nms``, ``max_per_img``.
        init_cfg: Weight initialisation.

    Raises:
        PairingError: If assigner, sampler, coder and losses cannot work together.
        ConfigError: If ``train_cfg`` or ``test_cfg`` hold a key that nothing reads.
    """

    in_channels: Any
    map_names: tuple[str, ...] = ('cls', 'bbox')
    """The maps of ``forward``, in order."""
    score_factor: str | None = None
    """Branch whose probability multiplies the class scores."""
    geometric_scores: bool = False
    """Whether assigners see the geometric mean of class score and factor (YOLOX)."""
    num_bins: int = 0
    """Bins of each side where boxes are distributions; 0 where they are numbers."""
    clip_after_nms: bool = False
    """Whether boxes are clipped to the image only when they are chosen (YOLOv5)."""
    after_nms: AfterNMS | None = None
    """What becomes of the detections that NMS kept (PAA votes on their boxes)."""
    uses_valid_flags = True
    """Whether priors beyond an image's own padding are left out."""
    train_cfg_keys: tuple[str, ...] = ('assigner', 'sampler', 'allowed_border')
    test_cfg_keys: tuple[str, ...] = ('nms_pre', 'score_thr', 'min_bbox_size', 'nms', 'max_per_img')

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        *,
        prior_generator,
        loss_cls,
        bbox_coder=None,
        loss_bbox=None,
        extra_losses: Mapping[str, object] | None = None,
        loss_terms: Mapping[str, Mapping] | None = None,
        train_cfg: Mapping | None = None,
        test_cfg: Mapping | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_classes < 1:
            raise ConfigError(f'num_classes: expected at least 1, got {num_classes}')
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.prior_generator = build(TASK_UTILS, prior_generator, 'prior_generator')
        self.bbox_coder = build(TASK_UTILS, bbox_coder, 'bbox_coder')
        self.loss_cls = build(MODELS, loss_cls, 'loss_cls')
        self.loss_bbox = build(MODELS, loss_bbox, 'loss_bbox')
        for name, node in (extra_losses or {}).items():
            setattr(self, name, build(MODELS, node, name))
        self.cls_out_channels = num_outputs(num_classes, self.loss_cls)
        self._set_learning(train_cfg, test_cfg, self.test_cfg_keys)
        self._init_layers()
        self._changes = loss_terms or {}
        self.loss_terms = change_terms(self.default_terms(), self._changes, type(self).__name__)
        check_pairing(self.pairing())
        factors = [term.loss for term in self.loss_terms if term.branch == self.score_factor]
        self.reader = MapReader(
            prior_generator=self.prior_generator,
            layout=self.layout(),
            class_loss=self.loss_cls,
            num_classes=num_classes,
            coder=self.bbox_coder,
            factor=self.score_factor,
            factor_loss=factors[0] if factors else None,
            geometric=self.geometric_scores,
            certain=num_classes == 1 and all(t.branch != 'cls' for t in self.loss_terms),
        )

    # What a head gives ---------------------------------------------------------------

    @abstractmethod
    def _init_layers(self) -> None:
        """Create the layers; names and shapes follow OpenMMLab's."""

    @abstractmethod
    def forward(self, feats: Sequence[Tensor]) -> tuple[Sequence[Tensor], ...]:
        """Raw maps: one sequence a name of :attr:`map_names`, one map a level."""

    def raw_maps(self, feats: Sequence[Tensor]) -> tuple[Sequence[Tensor], ...]:
        """The maps the losses read: :meth:`forward` 's, unless that ends in an activation."""
        return self(feats)

    @property
    def class_activation(self) -> str:
        """What turns class outputs into probabilities, as their loss declares."""
        return declared(self.loss_cls).class_activation

    @property
    def num_levels(self) -> int:
        """Feature maps that the head predicts on."""
        return self.prior_generator.num_levels

    @property
    def objectness_channels(self) -> int:
        """Values of a prior's objectness: 1, or with a softmax loss 2 (object, background)."""
        return 1

    def map_channels(self) -> dict[str, int]:
        """Values a prior in each map."""
        return {
            'cls': self.cls_out_channels,
            'bbox': 4 * max(self.num_bins, 1),
            'centerness': 1,
            'objectness': self.objectness_channels,
        }

    def layout(self) -> Layout:
        """Where the branches stand in the maps; by default one map a branch."""
        channels = self.map_channels()
        return SeparateMaps({name: channels[name] for name in self.map_names})

    def default_terms(self) -> tuple[LossTerm, ...]:
        """The losses of this head as its paper has them.

        By default classification over all priors and boxes of the positives, both over
        the number of positives.
        """
        return (
            LossTerm('loss_cls', self.loss_cls, kind='classification', branch='cls'),
            LossTerm('loss_bbox', self.loss_bbox, kind=self.box_kind(), branch='bbox'),
        )

    def active_terms(self) -> tuple[LossTerm, ...]:
        """The terms of this step; all of :attr:`loss_terms` unless a head has phases."""
        return self.loss_terms

    def box_kind(self, loss: Any = None) -> Kind:
        """The kind of a box loss: on encoded or on decoded boxes."""
        loss = self.loss_bbox if loss is None else loss
        stated = self._changes.get('loss_bbox', {}).get('kind')
        if stated is not None or loss is None:
            return stated or 'box_encoded'
        return kind_of_box_loss(loss, f'{type(self).__name__}.loss_bbox')

    # Training -------------------------------------------------------------------------

    def loss(
        self, feats: Sequence[Tensor], batch_data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """The training losses of a batch, one scalar a term."""
        return self.loss_by_feat(*self.raw_maps(feats), batch_data_samples=batch_data_samples)

    def loss_by_feat(
        self, *maps: Sequence[Tensor], batch_data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """:meth:`loss` from raw maps."""
        device = maps[0][0].device
        gt = GroundTruth.from_data_samples(batch_data_samples, device=device)
        ids = [sample.metainfo.get('img_id', i) for i, sample in enumerate(batch_data_samples)]
        pads = pad_shapes([sample.metainfo for sample in batch_data_samples])
        inputs = self.loss_inputs(maps, gt, image_ids=ids, pads=pads)
        return evaluate_terms(self.active_terms(), inputs)

    def loss_inputs(
        self, maps: Maps, gt: GroundTruth, *, image_ids: Sequence | None = None, pads=None
    ) -> LossInputs:
        """Flatten the maps, make the priors, assign and sample.

        Args:
            maps: Raw maps as :meth:`forward` returns them.
            gt: The batch's ground truth.
            image_ids: B ids that key the sampler's randomness.
            pads: ``(B, 2)`` height and width of each image with its own padding.
        """
        output = self.reader.flatten(maps)
        priors = self.reader.priors(
            maps,
            pads=pads if self.uses_valid_flags else None,
            contents=gt.image_sizes,
            allowed_border=self.train_cfg.get('allowed_border', -1) if self.training else -1,
        )
        unassigned = Assignment.empty(gt.batch_size, priors.num_priors, gt.device)
        coder, loss = self.bbox_coder, self.loss_cls
        inputs = LossInputs(
            output, priors, gt, unassigned, coder, self.num_classes, class_loss=loss
        )
        return replace(inputs, assignment=self.assign(inputs, image_ids), _cache={})

    def pairing(self) -> Pairing:
        """The parts of this head that have to go together."""
        return Pairing(
            head=type(self).__name__,
            terms=self.loss_terms,
            assigner=self.assigner,
            sampler=self.sampler,
            coder=self.bbox_coder,
            num_classes=self.num_classes,
            channels=self.map_channels(),
            num_levels=self.num_levels,
            num_bins=self.num_bins,
        )

    # Prediction -----------------------------------------------------------------------

    def predict(
        self,
        feats: Sequence[Tensor],
        batch_data_samples: Sequence[DetDataSample],
        rescale: bool = True,
    ) -> list[InstanceData]:
        """Detections of a batch."""
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
        """Detections from raw maps: per level top-k, decode, NMS.

        Args:
            *maps: As :meth:`forward` returns them.
            batch_img_metas: B dicts with ``img_shape`` and, to rescale, ``scale_factor``.
            cfg: In place of ``test_cfg``.
            rescale: Give boxes in pixels of the original image.
            with_nms: False keeps every candidate.
        """
        cfg = self.test_cfg if cfg is None else cfg
        output, priors = self.reader.flatten(maps), self.reader.priors(maps)
        shapes = priors.boxes.new_tensor([meta['img_shape'][:2] for meta in batch_img_metas])
        found = self.candidates(output, priors, shapes, cfg)
        return detections(
            found,
            batch_img_metas,
            cfg,
            rescale=rescale,
            with_nms=with_nms,
            clip_after_nms=self.clip_after_nms,
            after_nms=self.after_nms,
        )

    def candidates(
        self, output: HeadOutput, priors: Priors, image_shapes: Tensor, cfg: Mapping
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best priors of each level, decoded and clipped.

        Returns:
            boxes ``(B, k, 4)``, scores ``(B, k)`` (negative: empty), labels ``(B, k)``.
        """
        limits = None if self.clip_after_nms else image_shapes
        return best_of_levels(self.reader, output, priors, limits=limits, cfg=cfg)

    def every_box(self, output: HeadOutput, priors: Priors) -> tuple[Tensor, Tensor]:
        """Box ``(B, N, 4)`` and class scores ``(B, N, C)`` of every prior, nothing chosen."""
        return self.reader.boxes(output, priors), self.reader.ranking_scores(output, priors)
