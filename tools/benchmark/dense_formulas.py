"""The rules as they are usually written: per image, over the whole priors x gts matrix.

They are the yardstick of ``assigners.py``; each returns ``(N,)`` the gt of every prior plus
one, 0 for negatives, -1 for ignored priors.

Shapes: N priors, M gts, C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def iou_matrix(boxes: Tensor, gts: Tensor) -> Tensor:
    """``(N, 4), (M, 4) -> (N, M)``."""
    low = torch.max(boxes[:, None, :2], gts[None, :, :2])
    high = torch.min(boxes[:, None, 2:], gts[None, :, 2:])
    inter = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, gts)]
    return inter / (areas[0][:, None] + areas[1] - inter).clamp(min=1e-6)


def max_iou(boxes: Tensor, gts: Tensor, pos: float, neg: float, *, every: bool = True) -> Tensor:
    """Thresholds, then every gt's best."""
    iou = iou_matrix(boxes, gts)
    best, arg = iou.max(dim=1)
    out = torch.full_like(arg, -1)
    out[best < neg] = 0
    out = torch.where(best >= pos, arg + 1, out)
    gt_best, gt_arg = iou.max(dim=0)
    for g in range(len(gts)):
        if every:
            out[iou[:, g] == gt_best[g]] = g + 1
        else:
            out[gt_arg[g]] = g + 1
    return out


def atss(boxes: Tensor, gts: Tensor, sizes: tuple[int, ...], k: int = 9) -> Tensor:
    """Nearest k a level, then mean plus deviation."""
    iou = iou_matrix(boxes, gts)
    centers, own = (boxes[:, :2] + boxes[:, 2:]) / 2, (gts[:, :2] + gts[:, 2:]) / 2
    distance = (centers[:, None] - own[None]).pow(2).sum(-1).sqrt()
    found, start = [], 0
    for size in sizes:
        part = distance[start : start + size]
        found.append(part.topk(min(k, size), dim=0, largest=False).indices + start)
        start += size
    index = torch.cat(found)  # (K, M)
    overlap = iou.gather(0, index)
    keep = overlap >= overlap.mean(0) + overlap.std(0)
    inside = torch.cat((centers[index] - gts[:, :2], gts[:, 2:] - centers[index]), dim=-1)
    keep &= inside.amin(dim=-1) > 0.01
    chosen = torch.full_like(iou, -1.0)
    column = torch.arange(len(gts)).expand_as(index)
    chosen[index[keep], column[keep]] = overlap[keep]
    best, arg = chosen.max(dim=1)
    return torch.where(best >= 0, arg + 1, 0)


def fcos(centers: Tensor, gts: Tensor, ranges: Tensor) -> Tensor:
    """Inside the box and within the level's range; the smallest area wins."""
    n, m = len(centers), len(gts)
    areas = ((gts[:, 2] - gts[:, 0]) * (gts[:, 3] - gts[:, 1])).expand(n, m).clone()
    points, boxes = centers[:, None].expand(n, m, 2), gts[None].expand(n, m, 4)
    sides = torch.cat((points - boxes[..., :2], boxes[..., 2:] - points), dim=-1)
    reach = sides.amax(dim=-1)
    inside = sides.amin(dim=-1) > 0
    fits = (reach >= ranges[:, :1]) & (reach <= ranges[:, 1:])
    areas[~(inside & fits)] = float('inf')
    least, arg = areas.min(dim=1)
    return torch.where(torch.isfinite(least), arg + 1, 0)


def dynamic_k(cost: Tensor, iou: Tensor, k: int) -> Tensor:
    """Each gt's cheapest, as many as its top IoUs add up to."""
    match = torch.zeros_like(cost, dtype=torch.bool)
    counts = iou.topk(min(k, len(iou)), dim=0).values.sum(0).int().clamp(min=1)
    for g in range(cost.shape[1]):
        match[cost[:, g].topk(int(counts[g]), largest=False).indices, g] = True
    several = match.sum(dim=1) > 1
    if several.any():
        least = cost[several].argmin(dim=1)
        match[several] = F.one_hot(least, cost.shape[1]).bool()
    return torch.where(match.any(dim=1), match.int().argmax(dim=1) + 1, 0)


def simota(
    centers: Tensor, strides: Tensor, gts: Tensor, labels: Tensor, boxes: Tensor, scores: Tensor
) -> Tensor:
    """YOLOX's cost over the priors in any box or centre region."""
    in_box = _margin(centers, gts) > 0
    middle = (gts[:, :2] + gts[:, 2:]) / 2
    reach = 2.5 * strides[:, :1]
    near = ((centers[:, None] - middle[None]).abs() < reach[:, None]).all(dim=-1)
    some = (in_box | near).any(dim=1)
    iou = iou_matrix(boxes[some], gts)
    target = F.one_hot(labels, scores.shape[1]).float()[None].repeat(int(some.sum()), 1, 1)
    score = scores[some][:, None].repeat(1, len(gts), 1)
    cls = F.binary_cross_entropy(score.sqrt(), target, reduction='none').sum(-1)
    both = (in_box & near)[some]
    cost = cls + 3 * -torch.log(iou + 1e-7) + 1e8 * (~both)
    out = torch.zeros(len(boxes), dtype=torch.long)
    out[some] = dynamic_k(cost, iou, 10)
    return out


def dynamic_soft_label(
    centers: Tensor, strides: Tensor, gts: Tensor, labels: Tensor, boxes: Tensor, scores: Tensor
) -> Tensor:
    """RTMDet's cost over the priors in any box."""
    inside = _margin(centers, gts) > 0
    some = inside.any(dim=1)
    iou = iou_matrix(boxes[some], gts)
    logits = torch.logit(scores[some], eps=1e-6)[:, None].repeat(1, len(gts), 1)
    target = F.one_hot(labels, scores.shape[1]).float()[None] * iou[..., None]
    scale = (target - logits.sigmoid()).abs().pow(2)
    cls = F.binary_cross_entropy_with_logits(logits, target, reduction='none') * scale
    middle = (gts[:, :2] + gts[:, 2:]) / 2
    distance = (centers[some][:, None] - middle).pow(2).sum(-1).sqrt() / strides[some][:, :1]
    cost = cls.sum(-1) + 3 * -torch.log(iou + 1e-7) + torch.pow(10, distance - 3)
    cost = torch.where(inside[some], cost, cost + 1e8)
    out = torch.zeros(len(boxes), dtype=torch.long)
    out[some] = dynamic_k(cost, iou, 13)
    return out


def task_aligned(
    centers: Tensor, gts: Tensor, labels: Tensor, boxes: Tensor, scores: Tensor
) -> Tensor:
    """The 13 priors of the highest score x IoU^6 that lie in the gt."""
    iou = iou_matrix(boxes, gts)
    metric = scores[:, labels] * iou.pow(6)
    index = metric.topk(13, dim=0).indices
    keep = (metric.gather(0, index) > 0) & (_margin(centers, gts).gather(0, index) > 0.01)
    chosen = torch.full_like(iou, -1.0)
    column = torch.arange(len(gts)).expand_as(index)
    chosen[index[keep], column[keep]] = iou[index[keep], column[keep]]
    best, arg = chosen.max(dim=1)
    return torch.where(best >= 0, arg + 1, 0)


def yolov5(gts: Tensor, image: Tensor, grids: list[tuple[int, int, Tensor]]) -> list[Tensor]:
    """All images at once, level by level: (image, anchor, y, x) of every target."""
    out = []
    for cells, stride, sizes in grids:
        size = (gts[:, 2:] - gts[:, :2]) / stride
        at = (gts[:, :2] + gts[:, 2:]) / 2 / stride
        ratio = size[None] / (sizes[:, None] / stride)
        anchor, row = (torch.max(ratio, 1 / ratio).amax(-1) < 4).nonzero(as_tuple=True)
        at, rest = at[row], cells - at[row]
        left, up = ((at % 1 < 0.5) & (at > 1)).T
        right, down = ((rest % 1 < 0.5) & (rest > 1)).T
        which, pick = torch.stack((torch.ones_like(left), left, up, right, down)).nonzero().T
        shift = torch.tensor([[0, 0], [0.5, 0], [0, 0.5], [-0.5, 0], [0, -0.5]])[which]
        cell = (at[pick] - shift).long().clamp(0, cells - 1)
        out.append(torch.stack((image[row[pick]], anchor[pick], cell[:, 1], cell[:, 0]), dim=1))
    return out


def _margin(points: Tensor, gts: Tensor) -> Tensor:
    """``(N, M)`` distance to the nearest side, negative outside."""
    sides = torch.cat((points[:, None] - gts[None, :, :2], gts[None, :, 2:] - points[:, None]), -1)
    return sides.amin(dim=-1)
