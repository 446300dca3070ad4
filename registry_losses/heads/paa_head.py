"""PAA's head.

Kim & Lee, "Probabilistic Anchor Assignment with IoU Prediction for Object Detection",
ECCV 2020.

Shapes: B images, C classes, k candidates.
"""

from collections.abc import Mapping
from dataclasses import replace

from mmengine.structures import InstanceData
from torch import Tensor
from typing_extensions import Unpack

from ..assigners import PAAAssigner
from ..registry import MODELS
from ..structures import HeadOutput, LossTerm, Priors
from .atss_head import ATSSHead, ATSSHeadOptions
from .prediction import best_priors_of_levels
from .score_voting import vote


@MODELS.register_module()
class PAAHead(ATSSHead):
    """ATSS's layers, whose third branch predicts the IoU of the box.

    Losses: classification over all anchors; boxes weighted by their IoU with
    the gt, over the sum of those weights; the IoU branch, whose target is that IoU. A score
    is the square root of class probability times IoU, and after NMS each box becomes the
    weighted mean of the candidates around it (:func:`.score_voting.vote`).

    Args:
        num_classes: C.
        in_channels: Channels of the pyramid.
        topk: Where OpenMMLab has this setting of the assigner. With an assigner other than
            ``PAAAssigner`` it makes a ``PAAAssigner`` of that ``topk``, whose candidates are
            the other's positives.
        score_voting: Whether boxes are voted on.
        **options: What dense heads have in common, and :class:`ATSSHeadOptions`; the third
            branch's loss under OpenMMLab's name, ``loss_centerness``.
    """

    geometric_scores = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        topk: int | None = None,
        score_voting: bool = True,
        **options: Unpack[ATSSHeadOptions],
    ) -> None:
        self.score_voting = score_voting
        super().__init__(num_classes, in_channels, **options)
        refines = self.assigner is None or isinstance(self.assigner, PAAAssigner)
        if topk is not None and not refines:
            self.assigner = PAAAssigner(topk, candidates=self.assigner)

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Classification, boxes weighted by their IoU, the IoU."""
        cls, box, *rest = super().default_terms()
        box = replace(box, pair_weight='iou', normalizer='weight_sum', clamp=1e-6)
        iou = [replace(term, name='loss_iou', target_quality='iou') for term in rest]
        return (cls, box, *iou)

    def candidates(
        self, output: HeadOutput, priors: Priors, image_shapes: Tensor, cfg: Mapping
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of each level the priors with the highest score of any class, with all classes."""
        return best_priors_of_levels(self.reader, output, priors, limits=image_shapes, cfg=cfg)

    def every_box(self, output: HeadOutput, priors: Priors) -> tuple[Tensor, Tensor]:
        """See :class:`DenseHead`; scores are the square roots by which detections are ranked."""
        boxes, scores = super().every_box(output, priors)
        return boxes, scores if self.score_factor is None else scores.sqrt()

    def after_nms(  # type: ignore[override]
        self, kept: list[InstanceData], candidates: tuple[Tensor, Tensor, Tensor]
    ) -> list[InstanceData]:
        """Score voting; the detections are then ordered by class."""
        if not self.score_voting:
            return kept
        return [vote(each, *found) for each, *found in zip(kept, *candidates)]
