"""SingleStageDetector: backbone, neck, one dense head.

Shapes: B images of height H and width W.
"""

from collections.abc import Mapping, Sequence

from mmengine.model import BaseModel
from torch import Tensor, nn

from ..errors import ConfigError
from ..heads.building import pad_shapes
from ..heads.terms.loss_inputs import Stage
from ..registry import MODELS
from ..structures import DetDataSample, GroundTruth


@MODELS.register_module()
class SingleStageDetector(BaseModel):
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
        # MMEngine would look for it in the root registry, where ours is found only while
        # the default scope is set.
        if isinstance(data_preprocessor, Mapping):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(neck)
        self.bbox_head = MODELS.build(_with_cfg(bbox_head, train_cfg, test_cfg))

    @property
    def with_neck(self) -> bool:
        """Whether there is a neck."""
        return self.neck is not None

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """The maps the head reads."""
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
            return self.bbox_head.loss(feats, data_samples)
        if mode == 'predict':
            return self.predict(feats, data_samples)
        if mode == 'tensor':
            return self.bbox_head(feats)
        raise ValueError(f"mode: expected 'loss', 'predict' or 'tensor', got {mode!r}")

    def loss_stages(
        self, feats: Sequence[Tensor], data_samples: Sequence[DetDataSample], *, whole: bool = False
    ) -> tuple[Stage, ...]:
        """The head up to what its losses compare, for tools.

        Args:
            feats: The maps the head reads.
            data_samples: B samples.
            whole: Read by detectors of two stages alone.
        """
        metas = [sample.metainfo for sample in data_samples]
        gt = GroundTruth.from_data_samples(data_samples, device=feats[0].device)
        ids = [meta.get('img_id', i) for i, meta in enumerate(metas)]
        maps = self.bbox_head.raw_maps(feats)
        inputs = self.bbox_head.loss_inputs(maps, gt, image_ids=ids, pads=pad_shapes(metas))
        return (Stage('', self.bbox_head, inputs),)

    def predict(
        self, feats: Sequence[Tensor], data_samples: list[DetDataSample] | None
    ) -> list[DetDataSample]:
        """The samples, each with its ``pred_instances``."""
        if data_samples is None:
            raise ValueError("mode 'predict' needs data_samples, with img_shape in their metainfo")
        for sample, instances in zip(
            data_samples, self.bbox_head.predict(feats, data_samples, rescale=True)
        ):
            sample.pred_instances = instances
        return data_samples


def _with_cfg(head: Mapping, train_cfg: Mapping | None, test_cfg: Mapping | None) -> dict:
    """The head's node with the detector's train and test settings in it."""
    node = dict(head)
    for name, cfg in (('train_cfg', train_cfg), ('test_cfg', test_cfg)):
        if cfg is None:
            continue
        if node.get(name) is not None:
            raise ConfigError(f'{name} stands both in the detector and in bbox_head; keep one')
        node[name] = cfg
    return node
