"""BottomupPoseEstimator: backbone, neck, one pose head.

Shapes: B images.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..heads.building import pad_shapes
from ..heads.terms.loss_inputs import Stage
from ..registry import MODELS
from ..structures import DetDataSample, GroundTruth
from .base import BaseDetector, with_settings


@MODELS.register_module()
class BottomupPoseEstimator(BaseDetector):
    """A detector that finds all joints of an image at once, then groups them into persons.

    Args:
        backbone: Image to feature maps.
        head: A :class:`~registry_losses.heads.PoseHead`.
        neck: Feature maps to the maps the head reads.
        train_cfg: Handed to the head (``assigner``, ``sampler``).
        test_cfg: Handed to the head (thresholds of peaks and grouping).
        data_preprocessor: Normalises, pads and batches.
        init_cfg: Weight initialisation.
        channels_last: Deprecated; ``ChannelsLastHook`` does it for every model.

    Raises:
        ConfigError: If ``train_cfg`` or ``test_cfg`` stand both here and in the head.
    """

    def __init__(
        self,
        backbone: Mapping,
        head: Mapping,
        neck: Mapping | None = None,
        train_cfg: Mapping | None = None,
        test_cfg: Mapping | None = None,
        data_preprocessor: Mapping | nn.Module | None = None,
        init_cfg=None,
        *,
        channels_last: bool | None = None,
    ) -> None:
        super().__init__(backbone, neck, data_preprocessor, init_cfg)
        self.head = MODELS.build(with_settings('head', head, train_cfg, test_cfg))
        if channels_last is not None:
            warnings.warn(
                'BottomupPoseEstimator: channels_last goes with the next release; add'
                " dict(type='ChannelsLastHook') to custom_hooks",
                DeprecationWarning,
                stacklevel=2,
            )
        if channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def bbox_head(self) -> nn.Module:
        """The head under the name that tools for detectors know."""
        return self.head

    def loss(
        self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """The head's losses by name."""
        return self.head.loss(feats, data_samples)

    def detect(self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample]) -> Sequence:
        """The persons of each image, in its original pixels."""
        return self.head.predict(feats, data_samples, rescale=True)

    def raw(self, feats: Sequence[Tensor], inputs: Tensor) -> Any:
        """The raw maps of the head."""
        return self.head(feats)

    def loss_stages(
        self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample], *, whole: bool = False
    ) -> tuple[Stage, ...]:
        """The head's first resolution up to what its losses compare, for tools.

        Args:
            feats: The maps the head reads.
            data_samples: B samples. Where they have no keypoints, as synthetic ones, their
                boxes stand for the joints of one person.
            whole: Without effect; detectors of two stages read it.
        """
        head, device = self.head, feats[0].device
        if all('keypoints' in sample.gt_instances for sample in data_samples):
            gt = head.ground_truth(data_samples, device=device)
        else:
            gt = GroundTruth.from_data_samples(data_samples, device=device)
            gt = replace(gt, groups=torch.where(gt.valid, 0, -1))
        ids = [sample.metainfo.get('img_id', i) for i, sample in enumerate(data_samples)]
        pads = pad_shapes([sample.metainfo for sample in data_samples])
        inputs = head.loss_inputs(head(feats), gt, image_ids=ids, pads=pads)
        return (Stage('', head, inputs),)
