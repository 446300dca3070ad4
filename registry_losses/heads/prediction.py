"""From scores and boxes to the instances of each image, for every dense head.

Shapes: B images, n priors of a level, C classes, k candidates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from .. import ops
from ..structures import HeadOutput, Priors
from .map_reader import MapReader

AfterNMS = Callable[[list[InstanceData], tuple[Tensor, Tensor, Tensor]], list[InstanceData]]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The priors of one or more levels that may become detections.

    Args:
        scores: ``(B, k)``; negative entries are empty places.
        labels: ``(B, k)`` int64.
        prior_index: ``(B, k)`` int64, index within what was selected from.
    """

    scores: Tensor
    labels: Tensor
    prior_index: Tensor


def top_candidates(scores: Tensor, *, score_thr: float, limit: int) -> Candidates:
    """The ``limit`` best (prior, class) of each image whose score exceeds ``score_thr``.

    Args:
        scores: ``(B, n, C)`` probabilities.
        score_thr: Scores at or below it leave an empty place.
        limit: k at most; -1 for all.
    """
    # Plain numbers, in a traced graph too: there only the batch is free.
    num_classes, count = int(scores.shape[2]), int(scores.shape[1]) * int(scores.shape[2])
    flat = scores.reshape(scores.shape[0], count)
    k = count if limit < 0 else min(limit, count)
    best, index = flat.topk(k, dim=1)
    best = torch.where(best > score_thr, best, -1.0)
    return Candidates(best, index % num_classes, index // num_classes)


def best_of_levels(
    reader: MapReader,
    output: HeadOutput,
    priors: Priors,
    *,
    limits: Tensor | None,
    cfg: Mapping,
) -> tuple[Tensor, Tensor, Tensor]:
    """The best priors of each level, decoded.

    Class scores alone rank the priors of a level; the score factor multiplies afterwards.

    Args:
        reader: Reads scores and boxes.
        output: The flat branches.
        priors: The priors.
        limits: ``(B, 2)`` height and width to clip to; None to clip nowhere.
        cfg: ``score_thr`` and ``nms_pre``, the most of a level.

    Returns:
        boxes ``(B, k, 4)``, scores ``(B, k)`` (negative: empty), labels ``(B, k)``.
    """
    boxes, scores, labels = [], [], []
    all_scores = reader.prior_scores(output, priors)
    factors = None if reader.factor is None else reader.factors(output)
    for start, size in zip(priors.level_starts, priors.level_sizes):
        best = top_candidates(
            all_scores[:, start : start + size],
            score_thr=cfg.get('score_thr', 0.05),
            limit=cfg.get('nms_pre', -1),
        )
        prior_index = best.prior_index + start
        score = best.scores
        if factors is not None:
            score = torch.where(score < 0, score, score * factors.gather(1, prior_index))
        boxes.append(reader.boxes_at(output, priors, prior_index, limits=limits))
        scores.append(score)
        labels.append(best.labels)
    return torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(labels, 1)


def best_priors_of_levels(
    reader: MapReader,
    output: HeadOutput,
    priors: Priors,
    *,
    limits: Tensor | None,
    cfg: Mapping,
) -> tuple[Tensor, Tensor, Tensor]:
    """The best priors of each level with all their classes: PAA's choice.

    A score is the square root of class probability times score factor; it ranks the priors
    and is compared with the threshold.

    Args:
        reader: Reads scores and boxes.
        output: The flat branches.
        priors: The priors.
        limits: ``(B, 2)`` height and width to clip to; None to clip nowhere.
        cfg: ``score_thr`` and ``nms_pre``, the most priors of a level.

    Returns:
        boxes ``(B, k, 4)``, scores ``(B, k)`` (negative: empty), labels ``(B, k)``.
    """
    scores = reader.prior_scores(output, priors)
    if reader.factor is not None:
        scores = (scores * reader.factors(output)[..., None]).sqrt()
    limit, chosen = cfg.get('nms_pre', -1), []
    sizes = [size if limit < 0 else min(limit, size) for size in priors.level_sizes]
    for start, size, k in zip(priors.level_starts, priors.level_sizes, sizes):
        best = scores[:, start : start + size].amax(dim=-1)
        chosen.append(best.topk(k, dim=1).indices + start)
    prior_index = torch.cat(chosen, dim=1)  # (B, n)
    boxes = reader.boxes_at(output, priors, prior_index, limits=limits)
    c = scores.shape[-1]
    scores = scores.gather(1, prior_index[..., None].expand(-1, -1, c))  # (B, n, C)
    scores = torch.where(scores > cfg.get('score_thr', 0.05), scores, -1.0)
    labels = torch.arange(c, device=scores.device).expand_as(scores)
    boxes = boxes.unsqueeze(2).expand(-1, -1, c, -1)  # (B, n, C, 4)
    return boxes.flatten(1, 2), scores.flatten(1), labels.flatten(1)


def best_of_all(
    reader: MapReader,
    output: HeadOutput,
    priors: Priors,
    *,
    limits: Tensor | None,
    cfg: Mapping,
    rank_by_product: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """The best (prior, class) of each image over all levels, decoded: the YOLO family.

    Args:
        reader: Reads scores, the score factor and boxes.
        output: The flat branches.
        priors: The priors.
        limits: ``(B, 2)`` height and width to clip to; None to clip nowhere.
        cfg: ``score_thr``, ``nms_pre``, ``conf_thr`` (the least score factor),
            ``multi_label`` (whether a prior may have several classes).
        rank_by_product: Whether the factor takes part in ranking and thresholding, or only
            in the score.

    Returns:
        boxes ``(B, k, 4)``, scores ``(B, k)`` (negative: empty), labels ``(B, k)``.
    """
    scores, factor = reader.scores(output), reader.factors(output)
    if rank_by_product:
        scores = scores * factor[..., None]
    confident = factor >= cfg.get('conf_thr', -1)
    if not cfg.get('multi_label', True):
        only = torch.zeros_like(scores).scatter_(-1, scores.argmax(-1, keepdim=True), 1)
        scores = scores * only
    scores = torch.where(confident[..., None], scores, -1.0)
    best = top_candidates(
        scores, score_thr=cfg.get('score_thr', 0.05), limit=cfg.get('nms_pre', -1)
    )
    score = best.scores
    if not rank_by_product:
        score = torch.where(score < 0, score, score * factor.gather(1, best.prior_index))
    return reader.boxes_at(output, priors, best.prior_index, limits=limits), score, best.labels


def detections(
    candidates: tuple[Tensor, Tensor, Tensor],
    metas: Sequence[Mapping],
    cfg: Mapping,
    *,
    rescale: bool,
    with_nms: bool,
    clip_after_nms: bool,
    after_nms: AfterNMS | None = None,
) -> list[InstanceData]:
    """The instances of each image among its candidates.

    Args:
        candidates: boxes ``(B, k, 4)``, scores ``(B, k)`` (negative: empty), labels ``(B, k)``.
        metas: B dicts with ``img_shape`` and, to rescale, ``scale_factor``.
        cfg: ``nms``, ``max_per_img``, ``min_bbox_size``.
        rescale: Give boxes in pixels of the original image.
        with_nms: False keeps every candidate.
        clip_after_nms: Clip what is kept to the image.
        after_nms: Makes the detections of what NMS kept, best first, and ``candidates``; not
            called without NMS.
    """
    results = suppress(
        *candidates,
        nms=cfg.get('nms') if with_nms else None,
        max_per_img=cfg.get('max_per_img', 100) if with_nms else -1,
        min_bbox_size=cfg.get('min_bbox_size', -1),
    )
    if with_nms and after_nms is not None:
        results = after_nms(results, candidates)
    if rescale:
        rescale_instances(results, metas)
    if clip_after_nms:
        for instances, meta in zip(results, metas):
            limit = meta.get('ori_shape') if rescale else None
            instances.bboxes = ops.clip_boxes(instances.bboxes, (limit or meta['img_shape'])[:2])
    return results


def suppress(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    *,
    nms: dict | None,
    max_per_img: int,
    min_bbox_size: float = -1,
) -> list[InstanceData]:
    """Class-wise NMS over the whole batch at once, then the best of each image.

    Args:
        boxes: ``(B, k, 4)`` xyxy pixels.
        scores: ``(B, k)``; entries below 0 are empty places.
        labels: ``(B, k)``.
        nms: A config node as :class:`registry_losses.ops.Suppression` reads it, for instance
            ``dict(type='nms', iou_threshold=0.5)`` or ``dict(type='soft_nms')``; None for none.
        max_per_img: Instances kept an image; -1 for all.
        min_bbox_size: Boxes not wider and higher than this go; negative keeps all.

    Returns:
        B ``InstanceData`` with ``bboxes``, ``scores``, ``labels``, best first.

    Raises:
        ConfigError: If ``nms`` has an unknown type or key.
    """
    batch = boxes.shape[0]
    keep = scores >= 0
    if min_bbox_size >= 0:
        keep &= ((boxes[..., 2:] - boxes[..., :2]) > min_bbox_size).all(dim=-1)
    image, place = keep.nonzero(as_tuple=True)
    boxes, scores, labels = boxes[image, place], scores[image, place], labels[image, place]
    if nms is None:
        order = torch.argsort(scores, descending=True, stable=True)
        scores = scores[order]
    else:
        rule = ops.Suppression.of(nms)
        classes = labels.max() + 1 if len(labels) else 1
        groups = image if rule.class_agnostic else image * classes + labels
        order, scores = rule(boxes, scores, groups)
        if rule.max_num >= 0:
            max_per_img = rule.max_num if max_per_img < 0 else min(max_per_img, rule.max_num)
    image, boxes, labels = image[order], boxes[order], labels[order]
    results = []
    for index in range(batch):
        mine = (image == index).nonzero().squeeze(1)
        mine = mine if max_per_img < 0 else mine[:max_per_img]
        instances = InstanceData()
        instances.bboxes, instances.scores = boxes[mine], scores[mine]
        instances.labels = labels[mine]
        results.append(instances)
    return results


def rescale_instances(results: Sequence[InstanceData], metas: Sequence[Mapping]) -> None:
    """Bring boxes back to the original image, in place.

    By ``pad_param`` (top, bottom, left, right), which a letterbox sets, and by
    ``scale_factor`` (w, h).
    """
    for instances, meta in zip(results, metas):
        if 'pad_param' in meta:
            top, _, left, _ = meta['pad_param']
            offset = instances.bboxes.new_tensor((left, top, left, top))
            instances.bboxes = instances.bboxes - offset
        factor = instances.bboxes.new_tensor(meta.get('scale_factor', (1.0, 1.0)))
        instances.bboxes = instances.bboxes / factor.repeat(2)
