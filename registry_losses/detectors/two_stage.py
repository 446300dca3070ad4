"""TwoStageDetector: a dense head proposes boxes, a RoI head classifies and refines them.

Shapes: B images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..heads.building import pad_shapes
from ..heads.proposals import Proposals, propose
from ..heads.rpn_head import one_class
from ..heads.terms.evaluation import evaluate_terms
from ..heads.terms.loss_inputs import Stage
from ..registry import MODELS
from ..structures import DetDataSample, GroundTruth, HeadOutput
from .base import BaseDetector, with_settings


@MODELS.register_module()
class TwoStageDetector(BaseDetector):
    """Faster R-CNN (Ren et al., NeurIPS 2015) and its relatives, both stages trained together.

    Args:
        backbone: Image to feature maps.
        rpn_head: The head that proposes boxes: any dense head, usually an
            :class:`~registry_losses.heads.RPNHead`.
        roi_head: A :class:`~registry_losses.heads.RoIHead`.
        neck: Feature maps to the pyramid that both heads read.
        train_cfg: ``rpn`` (handed to the dense head), ``rpn_proposal`` (how many proposals
            the RoI head trains on), ``rcnn`` (handed to the RoI head).
        test_cfg: ``rpn`` and ``rcnn``.
        data_preprocessor: Normalises, pads and batches.
        init_cfg: Weight initialisation.

    Raises:
        ConfigError: If settings stand both here and in a head, or in no known place.
    """

    train_cfg_parts: Mapping[str, tuple[str, str]] = {
        'rpn': ('rpn_head', 'train_cfg'),
        'rpn_proposal': ('rpn_head', 'test_cfg'),
        'rcnn': ('roi_head', 'train_cfg'),
    }
    """Part to the head it goes to, and as which of its settings."""
    test_cfg_parts: Mapping[str, tuple[str, str]] = {
        'rpn': ('rpn_head', 'test_cfg'),
        'rcnn': ('roi_head', 'test_cfg'),
    }

    def __init__(
        self,
        backbone: Mapping,
        rpn_head: Mapping,
        roi_head: Mapping,
        neck: Mapping | None = None,
        train_cfg: Mapping | None = None,
        test_cfg: Mapping | None = None,
        data_preprocessor: Mapping | nn.Module | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(backbone, neck, data_preprocessor, init_cfg)
        train, test = dict(train_cfg or {}), dict(test_cfg or {})
        for name, cfg, parts in (
            ('train_cfg', train, self.train_cfg_parts),
            ('test_cfg', test, self.test_cfg_parts),
        ):
            for key in cfg:
                if key not in parts:
                    raise ConfigError(
                        f'{type(self).__name__}.{name}.{key}: nothing reads this key; it takes '
                        + ', '.join(parts)
                    )
        rpn = dict(rpn_head)
        rpn.setdefault('num_classes', 1)
        self.rpn_head = MODELS.build(
            with_settings('rpn_head', rpn, train.get('rpn'), test.get('rpn'))
        )
        self.roi_head = MODELS.build(
            with_settings('roi_head', roi_head, train.get('rcnn'), test.get('rcnn'))
        )
        # Without rpn_proposal, training takes the proposals of testing.
        self.proposal_cfg = dict(train.get('rpn_proposal') or self.rpn_head.test_cfg)

    # Training ---------------------------------------------------------------------------

    def loss(
        self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """The training losses of both stages; those of the first are named ``loss_rpn_*``.

        Beside them, for the log, ``acc``: the percentage of regions classified correctly.
        """
        losses: dict[str, Tensor] = {}
        stages = self.loss_stages(feats, data_samples)
        for stage in stages:
            found = evaluate_terms(stage.head.loss_terms, stage.inputs)
            losses.update({stage.loss_name(name): value for name, value in found.items()})
        losses['acc'] = self.roi_head.reader.accuracy(stages[1].inputs)
        return losses

    def loss_stages(
        self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample], *, whole: bool = False
    ) -> tuple[Stage, ...]:
        """Both stages up to what their losses compare.

        The second trains on what the first proposes now; its proposals carry no gradient.

        Args:
            feats: The pyramid.
            data_samples: B samples.
            whole: Keep all proposals in the second stage, also those that take no part.
        """
        metas = [sample.metainfo for sample in data_samples]
        gt = GroundTruth.from_data_samples(data_samples, device=feats[0].device)
        ids = [meta.get('img_id', i) for i, meta in enumerate(metas)]
        head = self.rpn_head
        maps = head.raw_maps(feats)
        first = head.loss_inputs(maps, one_class(gt), image_ids=ids, pads=pad_shapes(metas))
        proposals = Proposals.of(propose(head, maps, metas, self.proposal_cfg))
        second = self.roi_head.loss_inputs(feats, proposals, gt, image_ids=ids, whole=whole)
        return Stage('rpn', head, first), Stage('', self.roi_head, second)

    # Prediction -------------------------------------------------------------------------

    def detect(self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample]) -> Sequence:
        """The boxes, scores and labels of each image, in its original pixels."""
        metas = [sample.metainfo for sample in data_samples]
        found = propose(self.rpn_head, self.rpn_head(feats), metas, self.rpn_head.test_cfg)
        return self.roi_head.predict(feats, Proposals.of(found), metas, rescale=True)

    def raw(self, feats: Sequence[Tensor], inputs: Tensor) -> tuple[Any, HeadOutput]:
        """The raw maps of the first stage and the :class:`HeadOutput` of the second."""
        maps = self.rpn_head(feats)
        metas = [dict(img_shape=tuple(inputs.shape[-2:]))] * len(inputs)
        proposals = Proposals.of(propose(self.rpn_head, maps, metas, self.rpn_head.test_cfg))
        return maps, self.roi_head(feats, self.roi_head.priors(proposals))
