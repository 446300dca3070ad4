"""The second stage: features of each proposal, its class and its box.

Girshick, "Fast R-CNN", ICCV 2015; Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.2.

Shapes: B images, P proposals, M gts, N priors (proposals and gts), S of them chosen,
R regions of the batch, K pairs, C classes, D values a region.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..errors import ConfigError
from ..registry import MODELS
from ..structures import Assignment, GroundTruth, HeadOutput, Priors
from .building import build
from .learning import LearningHead
from .proposals import Proposals, chosen_priors, proposal_priors, with_gts
from .roi_reader import RoIInputs, RoIReader
from .terms.evaluation import evaluate_terms
from .terms.loss_inputs import LossInputs
from .terms.pairing import Pairing, check_pairing


@MODELS.register_module()
class RoIHead(LearningHead):
    """Classifies proposals and refines their boxes.

    The gts stand before the proposals as priors (where the sampler's
    ``add_gt_as_proposals`` says so), the assigner pairs priors and gts, the sampler
    chooses. With an assigner and a sampler that look at no predictions only the chosen
    regions are pooled and run through the layers; otherwise all are.

    Args:
        bbox_roi_extractor: Pools the features of regions, :class:`SingleRoIExtractor`.
        bbox_head: The layers, :class:`Shared2FCBBoxHead`.
        train_cfg: ``assigner``, ``sampler``.
        test_cfg: ``score_thr``, ``nms``, ``max_per_img``, ``nms_pre``, ``min_bbox_size``.
        init_cfg: Weight initialisation.

    Raises:
        PairingError: If assigner, sampler, coder and losses cannot work together.
        ConfigError: If ``train_cfg`` or ``test_cfg`` hold a key that nothing reads.
    """

    test_cfg_keys: tuple[str, ...] = ('score_thr', 'nms', 'max_per_img', 'nms_pre', 'min_bbox_size')

    def __init__(
        self,
        bbox_roi_extractor,
        bbox_head,
        train_cfg: Mapping | None = None,
        test_cfg: Mapping | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.bbox_roi_extractor = build(MODELS, bbox_roi_extractor, 'bbox_roi_extractor')
        self.bbox_head = build(MODELS, bbox_head, 'bbox_head')
        self._set_learning(train_cfg, test_cfg, self.test_cfg_keys)
        self.loss_terms = self.bbox_head.loss_terms()
        check_pairing(self.pairing())
        self.reader = RoIReader(
            num_classes=self.num_classes,
            class_boxes=self.class_boxes,
            coder=self.bbox_coder,
            class_loss=self.bbox_head.loss_cls,
        )

    # What pairing rules and tools read -------------------------------------------------

    @property
    def num_classes(self) -> int:
        """C, without background."""
        return self.bbox_head.num_classes

    @property
    def cls_out_channels(self) -> int:
        """Outputs of a class vector."""
        return self.bbox_head.cls_out_channels

    @property
    def bbox_coder(self):
        """Between proposals and boxes."""
        return self.bbox_head.bbox_coder

    @property
    def class_boxes(self) -> bool:
        """Whether each class has a box of its own."""
        return not self.bbox_head.reg_class_agnostic

    def pairing(self) -> Pairing:
        """The parts of this head that have to go together."""
        return Pairing(
            head=type(self).__name__,
            terms=self.loss_terms,
            assigner=self.assigner,
            sampler=self.sampler,
            coder=self.bbox_coder,
            num_classes=self.num_classes,
            channels={
                'cls': self.cls_out_channels,
                'bbox': self.bbox_coder.encode_size,
            },
            on_grid=False,
        )

    # Layers -----------------------------------------------------------------------------

    def forward(self, feats: Sequence[Tensor], priors: Priors) -> HeadOutput:
        """Pool the valid priors and run the layers; places without a region hold 0.

        Args:
            feats: The pyramid.
            priors: ``(B, S)`` priors, one set an image.

        Returns:
            Branches ``cls (B, S, C or C + 1)`` and ``bbox (B, S, D)``.
        """
        batch, number = priors.boxes.shape[:2]
        flat = torch.arange(batch * number, device=priors.device)
        if priors.valid is not None:
            flat = priors.valid.reshape(-1).nonzero().squeeze(1)  # sync: regions to pool
        image = torch.div(flat, max(number, 1), rounding_mode='floor')
        boxes = priors.boxes.reshape(-1, 4).index_select(0, flat)
        rois = torch.cat((image[:, None].to(boxes), boxes), dim=1)
        cls, bbox = self.bbox_head(self.bbox_roi_extractor(feats, rois))
        if len(flat) < batch * number:
            whole = (batch * number,)
            cls, bbox = (
                each.new_zeros(whole + each.shape[1:]).index_copy(0, flat, each)
                for each in (cls, bbox)
            )
        by_image = (batch, number, -1)
        # Without any region a size cannot be inferred.
        cls, bbox = (each.reshape(*by_image[:2], each.shape[1]) for each in (cls, bbox))
        return HeadOutput.of({'cls': cls, 'bbox': bbox})

    # Training ---------------------------------------------------------------------------

    def loss(
        self,
        feats: Sequence[Tensor],
        proposals: Proposals,
        gt: GroundTruth,
        *,
        image_ids: Sequence | None = None,
    ) -> dict[str, Tensor]:
        """The training losses of a batch, one scalar a term."""
        inputs = self.loss_inputs(feats, proposals, gt, image_ids=image_ids)
        return evaluate_terms(self.loss_terms, inputs)

    def loss_inputs(
        self,
        feats: Sequence[Tensor],
        proposals: Proposals,
        gt: GroundTruth,
        *,
        image_ids: Sequence | None = None,
        whole: bool = False,
    ) -> LossInputs:
        """Assign and sample, pool and predict, in the order that costs least.

        Args:
            feats: The pyramid.
            proposals: Of the first stage.
            gt: The batch's ground truth.
            image_ids: B ids that key the sampler's randomness.
            whole: Pool all proposals and keep them, as tools do.
        """
        if self.assigner is None:
            raise ConfigError(f'{type(self).__name__}: training needs train_cfg.rcnn.assigner')
        priors = self.training_priors(proposals, gt)
        choose_first = not (whole or self.assigner.needs | self.sampler.needs)
        output = HeadOutput({}, priors.level_sizes) if choose_first else self(feats, priors)
        unassigned = Assignment.empty(gt.batch_size, priors.num_priors, gt.device)
        inputs = self._inputs(output, priors, gt, unassigned)
        assignment = self.assign(inputs, image_ids)
        if not choose_first:
            return replace(inputs, assignment=assignment, _cache={})
        priors, assignment = chosen_priors(priors, assignment)
        return self._inputs(self(feats, priors), priors, gt, assignment)

    def training_priors(self, proposals: Proposals, gt: GroundTruth) -> Priors:
        """The proposals, after the gts where the sampler asks for them."""
        appends = self.sampler.add_gt_as_proposals
        return self.priors(with_gts(proposals, gt) if appends else proposals)

    def priors(self, proposals: Proposals) -> Priors:
        """Proposals as priors without a grid."""
        extractor = self.bbox_roi_extractor
        return proposal_priors(proposals, extractor.featmap_strides, extractor.finest_scale)

    def _inputs(
        self, output: HeadOutput, priors: Priors, gt: GroundTruth, assignment: Assignment
    ) -> RoIInputs:
        return RoIInputs(
            output,
            priors,
            gt,
            assignment,
            self.bbox_coder,
            self.num_classes,
            class_boxes=self.class_boxes,
        )

    # Prediction -------------------------------------------------------------------------

    @torch.no_grad()
    def predict(
        self,
        feats: Sequence[Tensor],
        proposals: Proposals,
        metas: Sequence[Mapping],
        *,
        rescale: bool = False,
        cfg: Mapping | None = None,
    ) -> list[InstanceData]:
        """Detections of a batch.

        Args:
            feats: The pyramid.
            proposals: Of the first stage.
            metas: B dicts with ``img_shape`` and, to rescale, ``scale_factor``.
            rescale: Give boxes in pixels of the original image.
            cfg: In place of ``test_cfg``.
        """
        priors = self.priors(proposals)
        cfg = self.test_cfg if cfg is None else cfg
        return self.reader.detect(self(feats, priors), priors, metas, cfg=cfg, rescale=rescale)
