"""What every detector does: images through backbone and neck, then losses or predictions.

Shapes: B images of height H and width W.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import MODELS
from ..structures import DetDataSample


class BaseDetector(BaseModel):
    """Backbone, neck, and what reads their maps: one head, or one for each stage.

    A subclass builds its heads and implements :meth:`loss`, :meth:`detect` and :meth:`raw`.

    Args:
        backbone: Image to feature maps.
        neck: Feature maps to the maps the heads read.
        data_preprocessor: Normalises, pads and batches.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        backbone: Mapping,
        neck: Mapping | None,
        data_preprocessor: Mapping | nn.Module | None,
        init_cfg: Any,
    ) -> None:
        # MMEngine would look for it in the root registry, where ours is found only while
        # the default scope is set.
        if isinstance(data_preprocessor, Mapping):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(neck)

    @property
    def with_neck(self) -> bool:
        """Whether there is a neck."""
        return self.neck is not None

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """The maps the heads read."""
        feats = self.backbone(inputs)
        return feats if self.neck is None else self.neck(feats)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[DetDataSample] | None = None,
        mode: str = 'tensor',
    ):
        """The losses, the predictions or the raw maps of a batch, by ``mode``.

        Args:
            inputs: ``(B, 3, H, W)``, preprocessed.
            data_samples: B samples; None will do for ``'tensor'``.
            mode: ``'loss'`` gives a dict of scalar losses, ``'predict'`` the samples with
                ``pred_instances`` in pixels of the original images, ``'tensor'`` what
                :meth:`raw` gives.

        Raises:
            ValueError: On any other mode, or without the samples it needs.
        """
        if mode not in ('loss', 'predict', 'tensor'):
            raise ValueError(f"mode: expected 'loss', 'predict' or 'tensor', got {mode!r}")
        if mode == 'tensor':
            return self.raw(self.extract_feat(inputs), inputs)
        if data_samples is None:
            what = 'img_shape in their metainfo' if mode == 'predict' else 'their gt_instances'
            raise ValueError(f'mode {mode!r} needs data_samples, with {what}')
        feats = self.extract_feat(inputs)
        return (
            self.loss(feats, data_samples) if mode == 'loss' else self.predict(feats, data_samples)
        )

    def predict(
        self, feats: Sequence[Tensor], data_samples: list[DetDataSample]
    ) -> list[DetDataSample]:
        """The samples, each with its ``pred_instances``."""
        for sample, instances in zip(data_samples, self.detect(feats, data_samples), strict=True):
            sample.pred_instances = instances
        return data_samples

    def loss(
        self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """The training losses by name."""
        raise NotImplementedError

    def detect(self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample]) -> Sequence:
        """What is found in each image, in pixels of the original images."""
        raise NotImplementedError

    def raw(self, feats: Sequence[Tensor], inputs: Tensor) -> Any:
        """The raw maps of the heads."""
        raise NotImplementedError


def with_settings(
    name: str, head: Mapping, train_cfg: Mapping | None, test_cfg: Mapping | None
) -> dict:
    """The node of a head with the detector's train and test settings in it.

    Args:
        name: The head's key in the detector, for errors.
        head: Its node.
        train_cfg: Its ``train_cfg``, or None to leave what the node has.
        test_cfg: Its ``test_cfg``, likewise.

    Raises:
        ConfigError: If settings stand both in the detector and in the head.
    """
    node = dict(head)
    for key, cfg in (('train_cfg', train_cfg), ('test_cfg', test_cfg)):
        if cfg is None:
            continue
        if node.get(key) is not None:
            raise ConfigError(f'{key} stands both in the detector and in {name}; keep one')
        node[key] = cfg
    return node
