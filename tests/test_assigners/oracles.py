"""Naive double loops, one prior and one gt at a time: what the assigners must equal."""

import numpy as np
from torch import Tensor

from registry_losses.ops import bbox_overlaps
from registry_losses.structures import GroundTruth, Predictions, Priors

F = np.float32


class Scene:
    """One image in plain arrays."""

    def __init__(self, priors: Priors, gt: GroundTruth, image: int) -> None:
        boxes = priors.boxes[image] if priors.per_image else priors.boxes
        centers = priors.centers[image] if priors.per_image else priors.centers
        self.boxes, self.centers = boxes.numpy(), centers.numpy()
        self.gt_boxes, self.points = gt.boxes[image].numpy(), gt.points[image].numpy()
        self.gts = [g for g in range(gt.max_gts) if gt.valid[image, g]]
        self.iou = bbox_overlaps(boxes, gt.boxes[image]).numpy()
        n = range(priors.num_priors)
        self.prior_index = [i for i in n if priors.valid is None or priors.valid[image, i]]
        self.num_priors = priors.num_priors
        self.levels = priors.levels

    def nearest(self, g: int) -> int:
        """The prior whose centre is nearest to a gt's."""
        offset = self.centers[self.prior_index] - self.points[g]
        return self.prior_index[int(np.argmin((offset * offset).sum(axis=1)))]

    def argmax_gt(self, n: int) -> tuple[float, int]:
        """The largest IoU of a prior and its (first) gt."""
        best, arg = F(-1), -1
        for g in self.gts:
            if self.iou[n, g] > best:
                best, arg = self.iou[n, g], g
        return best, arg

    def cell_priors(self, g: int) -> list[int]:
        """The priors of every level whose cell holds a gt's centre."""
        found, first = [], 0
        for level in self.levels:
            cell = self.points[g] / np.array(level.stride, dtype=F)
            x = int(min(max(np.floor(cell[0]), 0), level.width - 1))
            y = int(min(max(np.floor(cell[1]), 0), level.height - 1))
            start = first + (y * level.width + x) * level.num_base
            found += range(start, start + level.num_base)
            first += level.num_priors
        return found

    def sizes(self) -> list[tuple[float, float]]:
        """Base sizes of all levels."""
        return [size for level in self.levels for size in level.base_sizes]


Answer = tuple[list[tuple[int, int, int]], list[list[bool]]]


def _collect(owners: list[list[int]], ignored: list[list[bool]]) -> Answer:
    pairs = []
    for b, owner in enumerate(owners):
        for n, g in enumerate(owner):
            if g >= 0:
                pairs.append((b, n, g))
                ignored[b][n] = False
    return pairs, ignored


def max_iou(
    priors: Priors,
    gt: GroundTruth,
    pos: float,
    neg: float | tuple[float, float],
    min_pos: float = 0.0,
    assign_all: bool = True,
    low_quality: bool = True,
) -> Answer:
    """Every prior against every gt, then every gt against every prior."""
    low, high = neg if isinstance(neg, tuple) else (0.0, neg)
    owners, ignored = [], []
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b)
        owner = [-1] * s.num_priors
        left_out = [n not in set(s.prior_index) for n in range(s.num_priors)]
        for n in s.prior_index if s.gts else []:
            best, arg = s.argmax_gt(n)
            owner[n] = arg if best >= F(pos) else -1
            left_out[n] = not F(low) <= best < F(high)
        for g in s.gts if low_quality and s.prior_index else []:
            best = max(s.iou[n, g] for n in s.prior_index)
            hits = [n for n in s.prior_index if s.iou[n, g] == best]
            if best < F(min_pos):
                continue
            if best == 0:
                hits = [s.nearest(g)]
            for n in hits if assign_all else hits[:1]:
                owner[n] = g
        owners.append(owner)
        ignored.append(left_out)
    return _collect(owners, ignored)


def max_iou_zero_flaw(priors: Priors, gt: GroundTruth, pos: float, neg: float) -> Answer:
    """The established rule at min_pos_iou 0: a maximum of 0 is a maximum like any other."""
    owners, ignored = [], []
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b)
        owner = [-1] * s.num_priors
        left_out = [False] * s.num_priors
        for n in s.prior_index:
            best, arg = s.argmax_gt(n)
            owner[n] = arg if best >= F(pos) else -1
            left_out[n] = not best < F(neg)
        for g in s.gts:
            best = max(s.iou[n, g] for n in s.prior_index)
            for n in s.prior_index:
                if s.iou[n, g] == best:
                    owner[n] = g
        owners.append(owner)
        ignored.append(left_out)
    return _collect(owners, ignored)


def grid(
    priors: Priors,
    gt: GroundTruth,
    pos: float,
    neg: float | tuple[float, float],
    min_pos: float = 0.0,
    assign_all: bool = True,
) -> Answer:
    """Max IoU in the cells that hold a centre."""
    owners, ignored = [], []
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b)
        owner = [-1] * s.num_priors
        left_out = [n not in set(s.prior_index) for n in range(s.num_priors)]
        mine = {n for g in s.gts for n in s.cell_priors(g)} & set(s.prior_index)
        for n in s.prior_index if s.gts else []:
            best, arg = s.argmax_gt(n)
            if isinstance(neg, tuple):
                left_out[n] = not F(neg[0]) < best <= F(neg[1])
            else:
                left_out[n] = not best <= F(neg)
            owner[n] = arg if n in mine and best > F(pos) else -1
        for g in s.gts if mine else []:
            best = max(s.iou[n, g] for n in mine)
            hits = sorted(n for n in mine if s.iou[n, g] == best)
            for n in (hits if assign_all else hits[:1]) if best > F(min_pos) else []:
                owner[n] = g
        owners.append(owner)
        ignored.append(left_out)
    return _collect(owners, ignored)


def ssd(priors: Priors, gt: GroundTruth, thr: float) -> list[tuple[int, int, int]]:
    """The best pair of all, again and again; then every free prior."""
    pairs = []
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b)
        owner = [-1] * s.num_priors
        free = list(s.gts)
        while free:
            best, arg = F(0), None
            for g in free:
                for n in s.prior_index:
                    if owner[n] < 0 and s.iou[n, g] > best:
                        best, arg = s.iou[n, g], (n, g)
            if arg is None:
                break
            owner[arg[0]] = arg[1]
            free.remove(arg[1])
        for n in s.prior_index:
            best, g = s.argmax_gt(n)
            if owner[n] < 0 and best > F(thr):
                owner[n] = g
        pairs += [(b, n, g) for n, g in enumerate(owner) if g >= 0]
    return pairs


def _strongest(claims: list[tuple[float, int, int]], b: int) -> list[tuple[int, int, int]]:
    """Of (strength, gt, prior) claims the strongest a prior, the first gt among equals."""
    best: dict[int, tuple[float, int]] = {}
    for strength, g, n in claims:
        if n not in best or strength > best[n][0]:
            best[n] = (strength, g)
    return sorted((b, n, g) for n, (_, g) in best.items())


def yolov1(priors: Priors, gt: GroundTruth, predictions: Predictions) -> list:
    """The best predictor of the cell."""
    pairs = []
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b)
        iou = bbox_overlaps(predictions.boxes[b], gt.boxes[b]).numpy()
        claims = []
        for g in s.gts:
            prior_index = [n for n in s.cell_priors(g) if n in set(s.prior_index)]
            if prior_index:
                n = max(prior_index, key=lambda i: (iou[i, g], -i))
                claims.append((iou[n, g], g, n))
        pairs += _strongest(claims, b)
    return pairs


def yolov3(priors: Priors, gt: GroundTruth, predictions: Predictions, thr: float) -> Answer:
    """The best anchor by shape; good predictions are left out."""
    owners, ignored = [], []
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b)
        iou = bbox_overlaps(predictions.boxes[b], gt.boxes[b]).numpy()
        left_out = [n not in set(s.prior_index) for n in range(s.num_priors)]
        claims = []
        for g in s.gts:
            w, h = s.gt_boxes[g, 2:] - s.gt_boxes[g, :2]
            shapes = []
            for base_w, base_h in s.sizes():
                common = min(w, F(base_w)) * min(h, F(base_h))
                union = w * h + F(base_w) * F(base_h) - common
                shapes.append(common / max(union, F(1e-6)))
            c = int(np.argmax(shapes))
            n = s.cell_priors(g)[c]
            if n in set(s.prior_index):
                claims.append((shapes[c], g, n))
        for n in range(s.num_priors):
            if any(iou[n, g] > F(thr) for g in s.gts):
                left_out[n] = True
        owner = [-1] * s.num_priors
        for _, n, g in _strongest(claims, b):
            owner[n] = g
        owners.append(owner)
        ignored.append(left_out)
    return _collect(owners, ignored)


def yolov5(priors: Priors, gt: GroundTruth, thr: float = 4.0) -> list:
    """Each anchor of a similar shape, in the cell and the two nearest neighbours."""
    pairs = []
    for b in range(gt.batch_size):
        s = Scene(priors, gt, b)
        for g in s.gts:
            w, h = (float(v) for v in s.gt_boxes[g, 2:] - s.gt_boxes[g, :2])
            first = 0
            for level in s.levels:
                stride, (width, height) = level.stride[0], (level.width, level.height)
                u, v = (float(p) / stride for p in s.points[g])
                cells = [_clamped(u, v, width, height)]
                if 0 <= u < width:
                    cells += _neighbours(u, v, width, height, axis=0)
                if 0 <= v < height:
                    cells += _neighbours(u, v, width, height, axis=1)
                for a, (base_w, base_h) in enumerate(level.base_sizes):
                    if not w or not h:
                        continue
                    if max(w / base_w, base_w / w, h / base_h, base_h / h) >= thr:
                        continue
                    for x, y in cells:
                        pairs.append((b, first + (y * width + x) * level.num_base + a, g))
                first += level.num_priors
    return sorted(pairs)


def _clamped(u: float, v: float, width: int, height: int) -> tuple[int, int]:
    x = int(min(max(np.floor(u), 0), width - 1))
    return x, int(min(max(np.floor(v), 0), height - 1))


def _neighbours(u: float, v: float, width: int, height: int, axis: int) -> list:
    """The neighbours along one axis; the cell itself again where the centre is a border."""
    at, count = (u, width) if axis == 0 else (v, height)
    cell, found = _clamped(u, v, width, height), []
    share = at - np.floor(at)
    if share < 0.5 and at > 1:
        found.append(-1)
    if (count - at) % 1 < 0.5 and count - at > 1:
        found.append(1 if share > 0 else 0)
    if axis == 0:
        return [(cell[0] + d, cell[1]) for d in found]
    return [(cell[0], cell[1] + d) for d in found]


def as_list(mask: Tensor) -> list[list[bool]]:
    """A bool tensor as nested lists."""
    return mask.tolist()
