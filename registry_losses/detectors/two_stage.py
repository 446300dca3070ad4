"""TwoStageDetector: a dense head proposes, a RoI head decides.

Shapes: B images of height H and width W, P proposals.
"""

from collections.abc import Mapping, Sequence

from mmengine.model import BaseModel
from torch import Tensor, nn

from ..errors import ConfigError
from ..heads.building import pad_shapes
from ..heads.proposals import Proposals, propose
from ..heads.rpn_head import one_class
from ..heads.terms.evaluation import evaluate_terms
from ..heads.terms.loss_inputs import Stage
from ..registry import MODELS
from ..structures import DetDataSample, GroundTruth


@MODELS.register_module()
class TwoStageDetector(BaseModel):
    """Faster R-CNN (Ren et al., NeurIPS 2015) and its kin, trained as one.

    Args:
        backbone: Image to feature maps.
        rpn_head: Proposes; any dense head can, usually an
            :class:`~registry_losses.heads.RPNHead`.
        roi_head: :class:`~registry_losses.heads.RoIHead`.
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
        # MMEngine would look for it in the root registry, where ours is found only while
        # the default scope is set.
        if isinstance(data_preprocessor, Mapping):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
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
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(neck)
        rpn = dict(rpn_head)
        rpn.setdefault('num_classes', 1)
        self.rpn_head = MODELS.build(_with_cfg('rpn_head', rpn, train.get('rpn'), test.get('rpn')))
        self.roi_head = MODELS.build(
            _with_cfg('roi_head', roi_head, train.get('rcnn'), test.get('rcnn'))
        )
        # Proposals to train on: as in testing, where nothing is said.
        self.proposal_cfg = dict(train.get('rpn_proposal') or self.rpn_head.test_cfg)

    @property
    def with_neck(self) -> bool:
        """Whether there is a neck."""
        return self.neck is not None

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """The pyramid that both heads read."""
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
                maps of the first stage and the :class:`HeadOutput` of the second.

        Raises:
            ValueError: On any other mode.
        """
        feats = self.extract_feat(inputs)
        if mode == 'loss':
            return self.loss(feats, data_samples or [])
        if mode == 'predict':
            return self.predict(feats, data_samples)
        if mode == 'tensor':
            maps = self.rpn_head(feats)
            metas = [dict(img_shape=tuple(inputs.shape[-2:]))] * len(inputs)
            proposals = Proposals.of(propose(self.rpn_head, maps, metas, self.rpn_head.test_cfg))
            return maps, self.roi_head(feats, self.roi_head.priors(proposals))
        raise ValueError(f"mode: expected 'loss', 'predict' or 'tensor', got {mode!r}")

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

    def predict(
        self, feats: Sequence[Tensor], data_samples: list[DetDataSample] | None
    ) -> list[DetDataSample]:
        """The samples, each with its ``pred_instances``."""
        if data_samples is None:
            raise ValueError("mode 'predict' needs data_samples, with img_shape in their metainfo")
        metas = [sample.metainfo for sample in data_samples]
        found = propose(self.rpn_head, self.rpn_head(feats), metas, self.rpn_head.test_cfg)
        detected = self.roi_head.predict(feats, Proposals.of(found), metas, rescale=True)
        for sample, instances in zip(data_samples, detected):
            sample.pred_instances = instances
        return data_samples


def _with_cfg(
    name: str, head: Mapping, train_cfg: Mapping | None, test_cfg: Mapping | None
) -> dict:
    """The head's node with the detector's train and test settings in it."""
    node = dict(head)
    for key, cfg in (('train_cfg', train_cfg), ('test_cfg', test_cfg)):
        if cfg is None:
            continue
        if node.get(key) is not None:
            raise ConfigError(f'{key} stands both in the detector and in {name}; keep one')
        node[key] = cfg
    return node
