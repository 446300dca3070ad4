"""Proposals: where the first stage of a detector expects objects, as priors of the second.

Shapes: B images, P proposals (padded), M gts (padded), N = P or M + P priors, S of them
chosen, L levels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..structures import Assignment, GroundTruth, Priors
from .dense_head import DenseHead
from .map_reader import Maps
from .prediction import suppress


@dataclass(frozen=True, eq=False)
class Proposals:
    """The proposals of a batch, best first, padded to one number.

    Args:
        boxes: ``(B, P, 4)`` xyxy pixels, detached.
        scores: ``(B, P)``.
        valid: ``(B, P)`` bool, False for padding.
    """

    boxes: Tensor
    scores: Tensor
    valid: Tensor

    @classmethod
    def of(cls, found: Sequence[InstanceData]) -> 'Proposals':
        """Pad the instances of B images, with ``bboxes`` and, where they have them, ``scores``."""
        boxes = [instances.bboxes.detach().float() for instances in found]
        scores = [
            instances.scores if 'scores' in instances else instances.bboxes.new_ones(len(each))
            for instances, each in zip(found, boxes)
        ]
        padded = pad_sequence(boxes, batch_first=True)
        lengths = torch.tensor([len(each) for each in boxes])
        valid = torch.arange(padded.shape[1]) < lengths[:, None]
        return cls(padded, pad_sequence(scores, batch_first=True), valid.to(padded.device))


@torch.no_grad()
def propose(
    head: DenseHead, maps: Maps, metas: Sequence[Mapping], cfg: Mapping
) -> list[InstanceData]:
    """The proposals of a dense head: per level the best, decoded, clipped and suppressed.

    Boxes suppress each other within their level only (Lin et al., Feature Pyramid
    Networks, CVPR 2017, as OpenMMLab has it). Every dense head can propose.

    Args:
        head: A dense head, usually an :class:`~registry_losses.heads.RPNHead`.
        maps: Its maps, as ``forward`` returns them.
        metas: B dicts with ``img_shape``.
        cfg: ``nms_pre``, ``nms``, ``max_per_img``, ``min_bbox_size``, ``score_thr``.

    Returns:
        B ``InstanceData`` with ``bboxes``, ``scores`` and ``labels`` (0), best first.
    """
    output = head.reader.flatten(maps)
    priors = head.reader.priors(maps)
    shapes = priors.boxes.new_tensor([meta['img_shape'][:2] for meta in metas])
    limit = cfg.get('nms_pre', -1)
    settings = dict(nms_pre=limit, score_thr=cfg.get('score_thr', -1.0))
    boxes, scores, _ = head.candidates(output, priors, shapes, settings)
    counts = [size * head.num_classes for size in priors.level_sizes]
    counts = counts if limit < 0 else [min(limit, count) for count in counts]
    levels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    found = suppress(
        boxes,
        scores,
        levels.to(boxes.device).expand_as(scores),
        nms=cfg.get('nms'),
        max_per_img=cfg.get('max_per_img', 1000),
        min_bbox_size=cfg.get('min_bbox_size', -1),
    )
    for instances in found:
        instances.labels = torch.zeros_like(instances.labels)
    return found


def with_gts(proposals: Proposals, gt: GroundTruth) -> Proposals:
    """The gts, which are sure hits from the first step on, before the proposals.

    The padding of both comes last: the place of a prior, by which a sampler draws, depends
    on its own image alone, not on the gts of the others in the batch.
    """
    boxes = torch.cat((gt.boxes, proposals.boxes), dim=1)
    scores = torch.cat((torch.ones_like(gt.boxes[..., 0]), proposals.scores), dim=1)
    valid = torch.cat((gt.valid, proposals.valid), dim=1)
    order = torch.argsort((~valid).to(torch.uint8), dim=1, stable=True)
    return Proposals(
        boxes=boxes.gather(1, order[..., None].expand(-1, -1, 4)),
        scores=scores.gather(1, order),
        valid=valid.gather(1, order),
    )


def roi_levels(boxes: Tensor, num_levels: int, finest_scale: float) -> Tensor:
    """``(...)`` int64, the level from which a box ``(..., 4)`` is pooled.

    Level 0 for sides below ``2 * finest_scale`` pixels (the root of the area), one more each
    time the side doubles: Lin et al., Feature Pyramid Networks, eq. (1).
    """
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    scale = (sides[..., 0] * sides[..., 1]).sqrt()
    return torch.floor(torch.log2(scale / finest_scale + 1e-6)).clamp(0, num_levels - 1).long()


def proposal_priors(proposals: Proposals, strides: Sequence[float], finest_scale: float) -> Priors:
    """Proposals as priors without a grid; their strides are those of their RoI levels."""
    levels = roi_levels(proposals.boxes, len(strides), finest_scale)
    by_level = proposals.boxes.new_tensor([(stride, stride) for stride in strides])
    return Priors(proposals.boxes, by_level[levels], valid=proposals.valid)


def chosen_priors(priors: Priors, assignment: Assignment) -> tuple[Priors, Assignment]:
    """The priors that take part in the losses, and their assignment.

    Args:
        priors: ``(B, N)``, one set an image.
        assignment: After the sampler.

    Returns:
        ``(B, S)`` priors in their old order, S the most of any image, the others' rest not
        valid; and the assignment with ``prior`` counted among them.
    """
    chosen = ~assignment.ignored
    if priors.valid is not None:
        chosen = chosen & priors.valid
    count = chosen.sum(dim=1)
    most = int(count.max()) if len(count) else 0  # sync: how many regions to pool
    order = torch.argsort(chosen.int(), dim=1, descending=True, stable=True)
    new_place = torch.empty_like(order)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    new_place.scatter_(1, order, places)
    order = order[:, :most]
    valid = places[:, :most] < count[:, None]

    def take(values: Tensor) -> Tensor:
        return values.gather(1, order[..., None].expand(-1, -1, values.shape[-1]))

    fewer = Priors(
        boxes=take(priors.boxes),
        strides=take(priors.strides),
        centers=take(priors.centers),
        valid=valid,
    )
    soft = assignment.soft
    if soft is not None:
        soft = replace(soft, prior=new_place[soft.image, soft.prior])
    return fewer, assignment.replace(
        prior=new_place[assignment.image, assignment.prior], ignored=~valid, soft=soft
    )
