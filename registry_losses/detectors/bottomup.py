"""BottomupPoseEstimator: backbone, neck, one pose head.

Shapes: B images of height H and width W.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..heads.building import pad_shapes
from ..heads.terms.loss_inputs import Stage
from ..registry import MODELS
from ..structures import DetDataSample, GroundTruth
from .single_stage import _with_cfg


@MODELS.register_module()
class BottomupPoseEstimator(BaseModel):
    """Finds all joints of an image at once, then says which are one person's.

    Args:
        backbone: Image to feature maps.
        head: A :class:`~registry_losses.heads.PoseHead`.
        neck: Feature maps to the maps the head reads.
        train_cfg: Handed to the head (``assigner``, ``sampler``).
        test_cfg: Handed to the head (thresholds of peaks and grouping).
        data_preprocessor: Normalises, pads and batches.
        init_cfg: Weight initialisation.
        channels_last: Keep images and weights with their channels innermost, which many
            CPUs and GPUs convolve faster; the results are the same.

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
        channels_last: bool = False,
    ) -> None:
        # MMEngine would look for it in the root registry, where ours is found only while
        # the default scope is set.
        if isinstance(data_preprocessor, Mapping):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(neck)
        self.head = MODELS.build(_with_cfg(head, train_cfg, test_cfg))
        self.channels_last = channels_last
        if channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def bbox_head(self) -> nn.Module:
        """The head under the name that tools for detectors know."""
        return self.head

    @property
    def with_neck(self) -> bool:
        """Whether there is a neck."""
        return self.neck is not None

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """The maps the head reads."""
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        feats = self.backbone(inputs)
        return feats if self.neck is None else self.neck(feats)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[DetDataSample] | None = None,
        mode: str = 'tensor',
    ):
        """One of three things.

        Args:
            inputs: ``(B, 3, H, W)``, preprocessed.
            data_samples: B samples.
            mode: ``'loss'`` gives a dict of scalar losses, ``'predict'`` the samples with
                ``pred_instances`` in pixels of the original images, ``'tensor'`` the raw
                maps of the head.

        Raises:
            ValueError: On any other mode.
        """
        feats = self.extract_feat(inputs)
        if mode == 'loss':
            return self.head.loss(feats, data_samples)
        if mode == 'predict':
            return self.predict(feats, data_samples)
        if mode == 'tensor':
            return self.head(feats)
        raise ValueError(f"mode: expected 'loss', 'predict' or 'tensor', got {mode!r}")

    def loss_stages(
        self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample], *, whole: bool = False
    ) -> tuple[Stage, ...]:
        """The head's first resolution up to what its losses compare, for tools.

        Args:
            feats: The maps the head reads.
            data_samples: B samples. Where they have no keypoints, as synthetic ones, their
                boxes stand for the joints of one person.
            whole: Read by detectors of two stages alone.
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

    def predict(
        self, feats: Sequence[Tensor], data_samples: list[DetDataSample] | None
    ) -> list[DetDataSample]:
        """The samples, each with its ``pred_instances``."""
        if data_samples is None:
            raise ValueError("mode 'predict' needs data_samples, with img_shape in their metainfo")
        results = self.head.predict(feats, data_samples, rescale=True)
        for sample, instances in zip(data_samples, results):
            sample.pred_instances = instances
        return data_samples
