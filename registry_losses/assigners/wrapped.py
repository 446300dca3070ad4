"""Third-party assigners with OpenMMLab's ``.assign``, used in our heads.

Shapes: B images, N priors, M gts, K pairs.
"""

import inspect
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..errors import ConfigError, check_shape
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Predictions, Priors
from .base import BaseAssigner

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

    Args:
        assigner: The object, or its config.
        points: Its priors are points (x, y, stride_x, stride_y), not xyxy boxes.
        needs_predictions: Whether it looks at predictions; they cost a decoding.
        ignore_iof_thr: See :class:`BaseAssigner`. Ignore boxes are handed on as well.
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
        self.assigner = assigner
        self.points = points
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
        gt_inds = torch.stack(answers) if answers else gt.labels.new_zeros(0, n)
        image, prior = (gt_inds > 0).nonzero(as_tuple=True)
        return Assignment(image, prior, gt_inds[image, prior] - 1, gt_inds == -1, one_to_one=True)

    def _assign_one(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None, i: int
    ) -> Tensor:
        """``(N,)`` int64: i + 1 for gt i of the padded list, 0, or -1."""
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
        out = gt.labels.new_full((n,), -1)
        return out.index_copy_(0, prior_index, answer)

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
            pred.scores = predictions.scores[i, prior_index]
        return pred


def wrap_assigner(
    assigner: Any, *, points: bool = False, needs_predictions: bool = True
) -> BaseAssigner:
    """An assigner that our heads can use, of one in OpenMMLab's form.

    One of ours comes back as it is. Arguments as in :class:`WrappedAssigner`.

    Raises:
        ConfigError: If the object has no ``.assign``.
    """
    if isinstance(assigner, BaseAssigner):
        return assigner
    return WrappedAssigner(assigner, points=points, needs_predictions=needs_predictions)
