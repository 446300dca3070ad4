"""Third-party assigners with OpenMMLab's ``.assign``, used in our heads.

Shapes: B images, N priors, M gts, K pairs.
"""

import inspect
from dataclasses import dataclass
from typing import Any, Literal

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..errors import ConfigError, PairingError, check_shape
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner

Quality = Literal['one', 'overlap', 'alignment']


@dataclass(frozen=True)
class Convention:
    """What an assigner of OpenMMLab expects beyond ``.assign``, and what its result means.

    Args:
        points: Whether its priors are points (x, y, stride_x, stride_y).
        logits: ``pred_instances.scores`` are logits, not probabilities.
        quality: The class target of a positive: 1; its overlap; or its alignment metric,
            which the best positive of a gt turns into its largest overlap (TOOD, section 3.2.2).
        refused: What it needs that no head here can give.
    """

    points: bool = False
    logits: bool = False
    quality: Quality = 'one'
    refused: str = ''


# mmdet's classes do not say so themselves.
_CONVENTIONS: dict[str, Convention] = {
    'SimOTAAssigner': Convention(points=True, quality='overlap'),
    'PointAssigner': Convention(points=True),
    'DynamicSoftLabelAssigner': Convention(points=True, logits=True, quality='overlap'),
    'TaskAlignedAssigner': Convention(quality='alignment'),
    'UniformAssigner': Convention(refused='boxes that YOLOF has decoded (decoder_priors)'),
    'RegionAssigner': Convention(refused='the anchors of each level apart'),
    'HungarianAssigner': Convention(refused='the match costs of its head'),
    'CenterRegionAssigner': Convention(refused='shadowed labels'),
}


def convention_of(assigner: Any) -> Convention:
    """How an assigner wants to be called, by the name of mmdet's class."""
    kind = type(assigner)
    own = kind.__module__.split('.')[0] == 'mmdet'
    return _CONVENTIONS.get(kind.__name__, Convention()) if own else Convention()


_LEVEL_NAMES = ('num_level_priors', 'num_level_bboxes')


@TASK_UTILS.register_module()
class WrappedAssigner(BaseAssigner):
    """Makes an assigner with OpenMMLab's ``.assign`` usable in our heads.

    It is called image by image, as its authors expect, with the valid priors and gts
    only: ``assign(pred_instances, gt_instances, gt_instances_ignore)`` by keyword, where
    ``pred_instances`` holds ``priors`` (and ``bboxes`` and ``scores`` with
    ``needs_predictions``). ``num_level_priors`` and ``img_meta`` are passed to those that
    name them. Of the result ``gt_inds`` is read: i + 1 gives a pair with gt i, 0 a
    negative, -1 an ignored prior. What holds for every assigner (ignore regions, order)
    holds for a wrapped one.

    The form is that of mmdet's ``BaseAssigner``, https://github.com/open-mmlab/mmdetection.

    Raises:
        ConfigError: If the object has no ``.assign``.
        PairingError: If it is one of mmdet's that needs what no head here can give.

    Args:
        assigner: The object, or its config.
        points: Whether its priors are points (x, y, stride_x, stride_y), not xyxy boxes; known of
            mmdet's own assigners.
        needs_predictions: Whether it looks at predictions; they cost a decoding.
        ignore_iof_thr: See :class:`BaseAssigner`. Ignore boxes are passed to the
            wrapped assigner as well.
    """

    def __init__(
        self,
        assigner: Any,
        *,
        points: bool = False,
        needs_predictions: bool = True,
        ignore_iof_thr: float | None = None,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)
        if isinstance(assigner, dict):
            assigner = TASK_UTILS.build(assigner)
        if not callable(getattr(assigner, 'assign', None)):
            raise ConfigError(
                f'assigner: expected an object with .assign(pred_instances, gt_instances, '
                f'gt_instances_ignore), got {type(assigner).__name__}'
            )
        self.convention = convention_of(assigner)
        if self.convention.refused:
            name = type(assigner).__name__
            raise PairingError(
                f'mmdet.{name} needs {self.convention.refused}, which heads here do not hand over; '
                f"use type='registry_losses.{name}'"
                if name in TASK_UTILS.module_dict
                else f'mmdet.{name} needs {self.convention.refused}; choose another assigner'
            )
        self.assigner = assigner
        self.points = points or self.convention.points
        if needs_predictions:
            self.needs = frozenset({'predictions'})
        parameters = inspect.signature(assigner.assign).parameters
        self._level_name = next((name for name in _LEVEL_NAMES if name in parameters), None)
        self._takes_meta = 'img_meta' in parameters

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        b, n = gt.batch_size, priors.num_priors
        answers = [self._assign_one(priors, gt, predictions, i) for i in range(b)]
        none = gt.labels.new_zeros(0, n), gt.boxes.new_zeros(0, n)
        gt_inds, quality = (torch.stack(each) for each in zip(*answers)) if answers else none
        image, prior = (gt_inds > 0).nonzero(as_tuple=True)
        return Assignment(
            image,
            prior,
            gt_inds[image, prior] - 1,
            gt_inds == -1,
            quality=quality[image, prior],
            one_to_one=True,
        )

    def _assign_one(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None, i: int
    ) -> tuple[Tensor, Tensor]:
        """``(N,)`` int64: i + 1 for gt i of the padded list, 0, or -1; ``(N,)`` qualities."""
        n = priors.num_priors
        prior_index = torch.arange(n, device=gt.device)
        if priors.valid is not None:
            prior_index = priors.valid[i].nonzero().squeeze(1)
        gts = gt.valid[i].nonzero().squeeze(1)
        regions = gt.ignore_boxes[i, gt.ignore_valid[i]]
        more: dict[str, Any] = {}
        if self._level_name is not None:
            levels = priors.level_ids[prior_index]
            count = len(priors.level_sizes)
            more[self._level_name] = torch.bincount(levels, minlength=count).tolist()
        if self._takes_meta:
            more['img_meta'] = {'img_shape': tuple(gt.image_sizes[i].int().tolist())}
        result = self.assigner.assign(
            pred_instances=self._pred_instances(priors, predictions, i, prior_index),
            gt_instances=InstanceData(bboxes=gt.boxes[i, gts], labels=gt.labels[i, gts]),
            gt_instances_ignore=InstanceData(bboxes=regions),
            **more,
        )
        check_shape('gt_inds', result.gt_inds, prior_index.shape[0])
        answer = result.gt_inds.to(gt.labels)
        if gts.shape[0]:
            answer = torch.where(answer > 0, gts[(answer - 1).clamp(min=0)] + 1, answer)
        out = gt.labels.new_full((n,), -1).index_copy_(0, prior_index, answer)
        quality = self._quality(result).to(gt.boxes)
        return out, gt.boxes.new_ones(n).index_copy_(0, prior_index, quality)

    def _quality(self, result: Any) -> Tensor:
        """``(n,)`` class targets of the positives, by the assigner's convention."""
        gt_inds = result.gt_inds
        ones = torch.ones_like(gt_inds, dtype=torch.float32)
        positive = (gt_inds > 0).nonzero().squeeze(1)
        if self.convention.quality == 'one' or not len(positive):
            return ones
        overlap = result.max_overlaps[positive].float().clamp(0, 1)
        if self.convention.quality == 'overlap':
            return ones.index_copy_(0, positive, overlap)
        metric, gt = result.assign_metrics[positive].float(), gt_inds[positive]
        most, best = (
            ones.new_zeros(int(gt.max()) + 1).scatter_reduce_(0, gt, each, 'amax')[gt]
            for each in (metric, overlap)
        )
        return ones.index_copy_(0, positive, metric / (most + 1e-7) * best)

    def _pred_instances(
        self, priors: Priors, predictions: Predictions | None, i: int, prior_index: Tensor
    ) -> InstanceData:
        image = torch.full_like(prior_index, i)
        if self.points:
            at = (priors.centers_at(image, prior_index), priors.strides_at(image, prior_index))
            rows = torch.cat(at, dim=1)
        else:
            rows = priors.boxes_at(image, prior_index)
        pred = InstanceData(priors=rows)
        if 'predictions' in self.needs and predictions is not None:
            pred.bboxes = predictions.boxes[i, prior_index]
            scores = predictions.scores[i, prior_index]
            pred.scores = torch.logit(scores, eps=1e-7) if self.convention.logits else scores
        return pred


def wrap_assigner(
    assigner: Any, *, points: bool = False, needs_predictions: bool = True
) -> BaseAssigner:
    """Wrap an assigner in OpenMMLab's form so that our heads can use it.

    One of ours is returned unchanged. The arguments are those of :class:`WrappedAssigner`.

    Raises:
        ConfigError: If the object has no ``.assign``.
    """
    if isinstance(assigner, BaseAssigner):
        return assigner
    return WrappedAssigner(assigner, points=points, needs_predictions=needs_predictions)
