"""OpenMMLab's form of an assigner: ``.assign`` for one image, and its result.

Shapes: n priors, m gts of one image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import ConfigError, ShapeError
from ..ops.device import CHUNK_ELEMENTS
from ..ops.iou import bbox_overlaps
from ..structures import Assignment, GroundTruth, Predictions, Priors


@dataclass
class AssignResult:
    """What OpenMMLab's heads and samplers expect of an assigner.

    Args:
        num_gts: m.
        gt_inds: ``(n,)`` int64: 0 negative, -1 ignored, i + 1 for gt i.
        max_overlaps: ``(n,)`` float32 overlap of a prior with its gt, or with the gt it
            overlaps most; None where the assigner has none.
        labels: ``(n,)`` int64 label of the gt, -1 where there is none.
    """

    num_gts: int
    gt_inds: Tensor
    max_overlaps: Tensor | None
    labels: Tensor | None
    _extra: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def num_preds(self) -> int:
        """Number of priors, n."""
        return len(self.gt_inds)

    def set_extra_property(self, key: str, value: Any) -> None:
        """Attach something that one head reads."""
        self._extra[key] = value

    def get_extra_property(self, key: str) -> Any:
        """What was attached under ``key``, or None."""
        return self._extra.get(key)

    @property
    def info(self) -> dict[str, Any]:
        """The fields in a dict."""
        return {
            'num_gts': self.num_gts,
            'num_preds': self.num_preds,
            'gt_inds': self.gt_inds,
            'max_overlaps': self.max_overlaps,
            'labels': self.labels,
            **self._extra,
        }

    def add_gt_(self, gt_labels: Tensor) -> None:
        """Put the gts themselves in front, each its own match (for samplers)."""
        own = torch.arange(1, len(gt_labels) + 1, device=self.gt_inds.device)
        self.gt_inds = torch.cat((own.to(self.gt_inds), self.gt_inds))
        if self.max_overlaps is not None:
            ones = self.max_overlaps.new_ones(len(gt_labels))
            self.max_overlaps = torch.cat((ones, self.max_overlaps))
        if self.labels is not None:
            self.labels = torch.cat((gt_labels.to(self.labels), self.labels))


class OpenMMLabForm:
    """The per-image call of OpenMMLab, for a class whose ``__call__`` takes a batch."""

    #: How rows of four numbers in ``pred_instances.priors`` read: xyxy boxes, or points
    #: with strides (x, y, stride_x, stride_y). Rows of three are (x, y, stride).
    priors_form: Literal['boxes', 'points'] = 'boxes'

    def assign(
        self,
        pred_instances: Any,
        gt_instances: Any,
        gt_instances_ignore: Any = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign one image, with the arguments and the result of OpenMMLab's assigners.

        Args:
            pred_instances: ``priors`` ``(n, 4)`` (or ``(n, 3)``, see
                :attr:`priors_form`), or already :class:`Priors`, which may hold the
                grid; ``bboxes`` ``(n, 4)`` and ``scores`` ``(n, C)`` where the
                assigner looks at predictions.
            gt_instances: ``bboxes`` ``(m, 4)`` xyxy and ``labels`` ``(m,)``.
            gt_instances_ignore: ``bboxes`` of the ignore regions, read only if
                ``ignore_iof_thr`` is a positive number.
            **kwargs: What else OpenMMLab's heads pass (``img_meta``); not read.

        Raises:
            PairingError: If this assigner needs the grid and gets bare boxes.
        """
        form = self._batch_of_one(pred_instances, gt_instances, gt_instances_ignore)
        return self._result(self(*form), *form)  # type: ignore[operator]

    def _batch_of_one(
        self, pred_instances: Any, gt_instances: Any, ignored: Any
    ) -> tuple[Priors, GroundTruth, Predictions | None]:
        priors = priors_of(pred_instances.priors, self.priors_form)
        if getattr(self, 'ignore_iof_thr', None) is None:
            ignored = None
        gt = ground_truth_of(gt_instances, ignored, priors.device)
        return priors, gt, predictions_of(pred_instances, priors)

    def _result(
        self,
        assignment: Assignment,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
    ) -> AssignResult:
        gt_inds = assignment.gt_inds(gt)[0]
        labels = torch.full_like(gt_inds, -1)
        pairs = assignment.one_gt_per_prior(gt)
        labels[pairs.prior] = pairs.labels_of(gt)
        overlaps = self._max_overlaps(pairs, priors, gt, predictions)
        return AssignResult(gt.max_gts, gt_inds, overlaps, labels)

    def _max_overlaps(
        self,
        pairs: Assignment,
        priors: Priors,
        gt: GroundTruth,
        predictions: Predictions | None,
    ) -> Tensor | None:
        """``(n,)`` the ``max_overlaps`` of the result: by default over all gts."""
        return max_overlaps(priors.boxes.reshape(-1, 4), gt.boxes[0])


def max_overlaps(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """``(n,)`` the largest IoU of each box with any of ``gt_boxes (m, 4)``, streamed."""
    out = boxes.new_zeros(boxes.shape[0])
    if gt_boxes.shape[0]:
        step = max(CHUNK_ELEMENTS // gt_boxes.shape[0], 1)
        for start in range(0, boxes.shape[0], step):
            part = boxes[start : start + step]
            out[start : start + step] = bbox_overlaps(part, gt_boxes).amax(dim=1)
    return out


def priors_of(priors: Tensor | Priors, form: Literal['boxes', 'points']) -> Priors:
    """OpenMMLab's prior rows as :class:`Priors` without a grid.

    Boxes have no stride in that form; it is set to 1.
    """
    if isinstance(priors, Priors):
        return priors
    if not isinstance(priors, Tensor):
        priors = priors.tensor  # an OpenMMLab box object
    if priors.dim() != 2 or priors.shape[1] not in (3, 4):
        shape = tuple(priors.shape)
        raise ShapeError(f'priors: expected (n, 4) boxes or (n, 3|4) points, got {shape}')
    if form == 'boxes' and priors.shape[1] == 4:
        return Priors(priors, torch.ones_like(priors[:, :2]))
    points = priors[:, :2]
    strides = priors[:, 2:] if priors.shape[1] == 4 else priors[:, 2:].expand(-1, 2)
    boxes = torch.cat((points - strides / 2, points + strides / 2), dim=1)
    return Priors(boxes, strides, centers=points)


def ground_truth_of(gt_instances: Any, ignored: Any, device: torch.device) -> GroundTruth:
    """One image's instances as a batch of one.

    OpenMMLab's form does not give the image's size, so that a gt outside the image
    cannot be recognised; only inverted and non-finite boxes are left out.
    """
    boxes = _boxes(gt_instances).to(device).reshape(1, -1, 4).float()
    if getattr(ignored, 'bboxes', None) is None:
        regions = boxes.new_zeros(1, 0, 4)
    else:
        regions = _boxes(ignored).to(device).reshape(1, -1, 4).float()
    ordered = (boxes[..., 2:] >= boxes[..., :2]).all(-1) & torch.isfinite(boxes).all(-1)
    return GroundTruth(
        boxes=boxes,
        labels=gt_instances.labels.to(device).reshape(1, -1).long(),
        valid=ordered,
        points=(boxes[..., :2] + boxes[..., 2:]) / 2,
        groups=boxes.new_full(boxes.shape[:2], -1, dtype=torch.long),
        ignore_boxes=regions,
        ignore_valid=torch.ones_like(regions[..., 0], dtype=torch.bool),
        image_sizes=boxes.new_full((1, 2), torch.inf),
    )


def predictions_of(pred_instances: Any, priors: Priors) -> Predictions | None:
    """Predictions from ``bboxes`` and ``scores``, None when there are no scores or boxes.

    If only one of the two is given, the other is filled in: the boxes of the priors, or a score
    of 1 for a single class.
    """
    bboxes = getattr(pred_instances, 'bboxes', None)
    scores = getattr(pred_instances, 'scores', None)
    if bboxes is None and scores is None:
        return None
    boxes = priors.boxes.reshape(1, -1, 4)
    if bboxes is not None:
        boxes = _plain(bboxes).detach().reshape(1, -1, 4).float()
    if scores is None:
        scores = boxes.new_ones(boxes.shape[1], 1)
    scores = scores.detach().float()
    # A RoI head hands over the proposals' own scores, one each.
    scores = scores[:, None] if scores.dim() == 1 else scores
    return Predictions(boxes, scores[None])


def _plain(boxes: Any) -> Tensor:
    return boxes if isinstance(boxes, Tensor) else boxes.tensor


def _boxes(instances: Any) -> Tensor:
    return _plain(instances.bboxes)


def negative_range(neg_iou_thr: float | Sequence[float]) -> tuple[float, float] | float:
    """``neg_iou_thr`` as one number or a range.

    Raises:
        ConfigError: If there are more or fewer numbers.
    """
    if isinstance(neg_iou_thr, (int, float)):
        return float(neg_iou_thr)
    if not isinstance(neg_iou_thr, Sequence) or len(neg_iou_thr) != 2:
        raise ConfigError(
            f'neg_iou_thr: expected one number or a range (low, high), got {neg_iou_thr!r}'
        )
    low, high = neg_iou_thr
    return float(low), float(high)


def check_iou_calculator(config: dict | None) -> None:
    """Refuse the IoU calculators of OpenMMLab that mean something else.

    Raises:
        ConfigError: Unless it is ``BboxOverlaps2D`` or None.
    """
    if config is not None and str(config.get('type')).split('.')[-1] != 'BboxOverlaps2D':
        raise ConfigError(f'iou_calculator: only BboxOverlaps2D is known, got {config}')
