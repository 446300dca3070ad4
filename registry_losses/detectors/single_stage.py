"""SingleStageDetector: backbone, neck, one dense head.

Shapes: B images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..heads.building import pad_shapes
from ..heads.terms.loss_inputs import Stage
from ..registry import MODELS
from ..structures import DetDataSample, GroundTruth
from .base import BaseDetector, with_settings


@MODELS.register_module()
class SingleStageDetector(BaseDetector):
    """A detector whose head predicts on every cell of its feature maps.

    Args:
        backbone: Image to feature maps.
        bbox_head: A :class:`~registry_losses.heads.DenseHead`.
        neck: Feature maps to the maps the head reads.
        train_cfg: Handed to the head (``assigner``, ``sampler`` ...).
        test_cfg: Handed to the head (``score_thr``, ``nms`` ...).
        data_preprocessor: Normalises, pads and batches.
        init_cfg: Weight initialisation.

    Raises:
        ConfigError: If ``train_cfg`` or ``test_cfg`` stand both here and in the head.
    """

    def __init__(
        self,
        backbone: Mapping,
        bbox_head: Mapping,
        neck: Mapping | None = None,
        train_cfg: Mapping | None = None,
        test_cfg: Mapping | None = None,
        data_preprocessor: Mapping | nn.Module | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(backbone, neck, data_preprocessor, init_cfg)
        self.bbox_head = MODELS.build(with_settings('bbox_head', bbox_head, train_cfg, test_cfg))

    def loss(
        self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """The head's losses by name."""
        return self.bbox_head.loss(feats, data_samples)

    def detect(self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample]) -> Sequence:
        """The boxes, scores and labels of each image, in its original pixels."""
        return self.bbox_head.predict(feats, data_samples, rescale=True)

    def raw(self, feats: Sequence[Tensor], inputs: Tensor) -> Any:
        """The raw maps of the head."""
        return self.bbox_head(feats)

    def loss_stages(
        self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample], *, whole: bool = False
    ) -> tuple[Stage, ...]:
        """The head up to what its losses compare, for tools.

        Args:
            feats: The maps the head reads.
            data_samples: B samples.
            whole: Without effect; detectors of two stages read it.
        """
        metas = [sample.metainfo for sample in data_samples]
        gt = GroundTruth.from_data_samples(data_samples, device=feats[0].device)
        ids = [meta.get('img_id', i) for i, meta in enumerate(metas)]
        maps = self.bbox_head.raw_maps(feats)
        inputs = self.bbox_head.loss_inputs(maps, gt, image_ids=ids, pads=pad_shapes(metas))
        return (Stage('', self.bbox_head, inputs),)
