"""Regions: the centre of a gt, on the level of its size, is positive (guided anchoring).

Shapes: B images, N priors, M gts, G gts of the batch in one list, L levels.
"""

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, PairingError, ShapeError
from ..registry import TASK_UTILS
from ..structures import Assignment, GroundTruth, Level, Predictions, Priors
from .base import BaseAssigner
from .candidates.centers import Region, find_candidates, level_strides_of
from .candidates.coverage import covered_priors
from .candidates.gt_rows import gt_rows
from .conflicts import last_claims
from .openmmlab import AssignResult

# Regions are closed; windows are found by open bounds, this many cells wider.
_CLOSED = 1e-3


@TASK_UTILS.register_module()
class RegionAssigner(BaseAssigner):
    """On the level of its size, the centre of a gt is positive, a ring around it ignored.

    * A gt of size (w, h) belongs to level
      ``floor(log2 sqrt(w h) - log2(anchor_scale s) + 1/2)``, s the least stride, clamped to
      the levels there are; levels count from 0 by their strides.
    * A prior of that level is positive when its centre lies in the middle
      ``center_ratio`` of the gt, and ignored in the middle ``ignore_ratio``; both are
      rounded to whole cells and closed. Where several gts hold a prior, the last decides.
    * On the next finer and the next coarser level the priors in the middle
      ``ignore_ratio`` are ignored, whatever they are for other gts.

    Wang et al., Region Proposal by Guided Anchoring, CVPR 2019, the anchor
    location targets: centre, ignore and outside region.

    In plain loops: :func:`registry_losses.testing.reference.assigners.region`.

    Args:
        center_ratio: Share of a gt's sides that is positive.
        ignore_ratio: Share that is ignored; at least ``center_ratio``.
        anchor_scale: Side of the square anchors in strides. OpenMMLab's form takes it
            with the call.
        ignore_iof_thr: See :class:`BaseAssigner`.

    Example:
        >>> assigner = RegionAssigner(center_ratio=0.2, ignore_ratio=0.5)
    """

    requires_grid = True

    def __init__(
        self,
        center_ratio: float = 0.2,
        ignore_ratio: float = 0.5,
        *,
        anchor_scale: float = 8,
        ignore_iof_thr: float | None = None,
    ) -> None:
        super().__init__(ignore_iof_thr=ignore_iof_thr)
        if not 0 < center_ratio <= ignore_ratio <= 1 or anchor_scale <= 0:
            raise ConfigError(
                'expected 0 < center_ratio <= ignore_ratio <= 1 and anchor_scale > 0, got '
                f'{center_ratio}, {ignore_ratio} and {anchor_scale}'
            )
        self.center_ratio = center_ratio
        self.ignore_ratio = ignore_ratio
        self.anchor_scale = anchor_scale

    def _assign(
        self, priors: Priors, gt: GroundTruth, predictions: Predictions | None
    ) -> Assignment:
        rows, (b, n) = gt_rows(gt), (gt.batch_size, priors.num_priors)
        if n == 0 or rows.num_rows == 0:
            return Assignment.empty(b, n, priors.device)
        around = find_candidates(priors, rows, gt, self._region(priors, self.ignore_ratio, (0,)))
        flat_index = around.image * n + around.prior
        core = self._region(priors, self.center_ratio, (0,))
        bounds = core(rows.boxes[:, None], rows.centers[:, None], level_strides_of(priors))
        low, high = (side[around.row, priors.level_ids[around.prior]] for side in bounds)
        points = priors.centers[around.prior]
        positive = ((points > low) & (points < high)).all(dim=1)
        last = last_claims(flat_index, around.gt, b * n, torch.ones_like(positive))
        beside = self._region(priors, self.ignore_ratio, (-1, 1))
        ignored = covered_priors(priors, rows, gt, (beside,))
        keep = last & positive & ~ignored.view(-1)[flat_index]
        # One prior more, where what does not count is written.
        ignored = torch.cat((ignored.view(-1), ignored.new_zeros(1)))
        ignored.index_fill_(0, torch.where(last & ~positive, flat_index, b * n), True)
        at = keep.nonzero().squeeze(1)  # sync: compact pairs
        image, prior, index = around.image[at], around.prior[at], around.gt[at]
        return Assignment(image, prior, index, ignored[:-1].view(b, n), one_to_one=True)

    def _region(self, priors: Priors, ratio: float, steps: tuple[int, ...]) -> Region:
        """The middle ``ratio`` of gts, on levels so many steps from their own."""
        strides = level_strides_of(priors)  # (L, 2)
        counts = strides.new_tensor([(level.width, level.height) for level in priors.levels])
        widths = [level.stride[0] for level in priors.levels]
        number = torch.argsort(torch.argsort(torch.tensor(widths), stable=True))
        number = number.to(strides.device)
        first = min(widths) * self.anchor_scale
        near = (1 - ratio) / 2

        def region(boxes: Tensor, points: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
            size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)  # (G, 1, 2)
            own = torch.floor(torch.log2(size.prod(dim=-1).sqrt()) - math.log2(first) + 0.5)
            own = own.clamp(0, len(priors.levels) - 1)  # (G, 1)
            here = torch.stack([number - own == step for step in steps]).any(dim=0)  # (G, L)
            start, end = boxes[..., :2] / strides, boxes[..., 2:] / strides
            low = torch.round((1 - near) * start + near * end).clamp(min=0)
            high = torch.round(near * start + (1 - near) * end).clamp(min=0)
            low, high = torch.minimum(low, counts) - _CLOSED, torch.minimum(high, counts) + _CLOSED
            return low * strides, torch.where(here[..., None], high, low) * strides

        return region

    def assign(  # type: ignore[override]  # OpenMMLab's own arguments here
        self,
        pred_instances: Any,
        gt_instances: Any,
        img_meta: Mapping,
        featmap_sizes: Sequence[tuple[int, int]],
        num_level_anchors: Sequence[int],
        anchor_scale: float,
        anchor_strides: Sequence[float],
        gt_instances_ignore: Any = None,
        allowed_border: int = 0,
    ) -> AssignResult:
        """OpenMMLab's form.

        Args:
            pred_instances: ``priors (n, 4)`` boxes of a grid, ``valid_flags (n,)`` bool.
            gt_instances: ``bboxes (m, 4)`` xyxy and ``labels (m,)``.
            img_meta: Its ``img_shape`` bounds the priors.
            featmap_sizes: (height, width) of each level.
            num_level_anchors: Priors of each level.
            anchor_scale: Side of the square anchors in strides.
            anchor_strides: Stride of each level.
            gt_instances_ignore: Must be None, as there.
            allowed_border: Pixels by which a prior may reach beyond the image; negative
                for any.

        Raises:
            PairingError: For ignore instances.
            ShapeError: If the levels do not add up.
        """
        if gt_instances_ignore is not None:
            raise PairingError('RegionAssigner.assign: ignore instances are not handled there')
        boxes = getattr(pred_instances.priors, 'tensor', pred_instances.priors)
        levels = _levels_of(boxes, featmap_sizes, num_level_anchors, anchor_strides)
        sizes = torch.tensor(list(num_level_anchors), device=boxes.device)
        strides = boxes.new_tensor(list(anchor_strides)).repeat_interleave(sizes)
        inside = pred_instances.valid_flags.bool()
        if allowed_border >= 0:
            height, width = img_meta['img_shape'][:2]
            limit = boxes.new_tensor([width, height]) + allowed_border
            inside = inside & (boxes[:, :2] >= -allowed_border).all(dim=1)
            inside = inside & (boxes[:, 2:] < limit).all(dim=1)
        priors = Priors(boxes, strides[:, None].expand(-1, 2), levels, valid=inside[None])
        told = RegionAssigner(self.center_ratio, self.ignore_ratio, anchor_scale=anchor_scale)
        return told._answer(priors, gt_instances)

    def _answer(self, priors: Priors, gt_instances: Any) -> AssignResult:
        form = self._batch_of_one(SimpleNamespace(priors=priors), gt_instances, None)
        result = self._result(self(*form), *form)
        if result.num_gts == 0:  # there, without gts nothing is ignored
            result.gt_inds.zero_()
            return result
        assert result.labels is not None
        result.labels.clamp_(min=0)  # as there: 0 where there is no gt
        result.max_overlaps = None
        return result


def _levels_of(
    boxes: Tensor,
    featmap_sizes: Sequence[tuple[int, int]],
    counts: Sequence[int],
    strides: Sequence[float],
) -> tuple[Level, ...]:
    """The grids of OpenMMLab's flat anchors."""
    levels, first = [], 0
    for (height, width), count, stride in zip(featmap_sizes, counts, strides):
        if count % (height * width):
            raise ShapeError(
                f'num_level_anchors: {count} priors do not fill {height} x {width} cells'
            )
        own = boxes[first : first + count // (height * width)]
        sizes = tuple((float(w), float(h)) for w, h in (own[:, 2:] - own[:, :2]).tolist())
        offset = float((own[0, 0] + own[0, 2]) / 2) / float(stride)
        pair = (float(stride), float(stride))
        levels.append(Level(int(height), int(width), pair, sizes, offset))
        first += count
    if first != boxes.shape[0]:
        raise ShapeError(f'num_level_anchors: add up to {first}, but there are {len(boxes)} priors')
    return tuple(levels)
