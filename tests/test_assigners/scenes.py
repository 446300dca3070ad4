"""Priors and ground truth for the tests of assigners.

Shapes: B images, N priors, M gts.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from registry_losses.structures import (
    GroundTruth,
    Level,
    Predictions,
    Priors,
    grid_points,
    level_strides,
)

#: As many as the gts of a small scene: gts of one class tie more often.
CLASSES = 20


def grid_priors(levels: Sequence[Level]) -> Priors:
    """The boxes of a grid, laid out by hand: level, y, x, a."""
    boxes = []
    for level in levels:
        half = torch.tensor(level.base_sizes, dtype=torch.float32) / 2
        centers = grid_points(level)[:, None]
        boxes.append(torch.cat((centers - half, centers + half), dim=-1).reshape(-1, 4))
    return Priors(torch.cat(boxes), level_strides(levels), tuple(levels))


def square_level(size: int, stride: float, bases: Sequence, offset: float = 0.5) -> Level:
    """A level over a square image."""
    cells = max(round(size / stride), 1)
    bases = tuple((float(w), float(h)) for w, h in bases)
    return Level(cells, cells, (float(stride), float(stride)), bases, offset)


def anchors(size: int = 64) -> Priors:
    """Like RetinaNet's: several shapes a cell, cell corners as centres."""
    return grid_priors(
        [
            square_level(size, s, [(4 * s, 4 * s), (3 * s, 6 * s), (6 * s, 3 * s)], 0.0)
            for s in (8, 16, 32)
        ]
    )


def points(size: int = 64) -> Priors:
    """Like FCOS's: one prior a cell."""
    return grid_priors([square_level(size, s, [(3 * s, 3 * s)]) for s in (8, 16, 32)])


def yolo_anchors(size: int = 64) -> Priors:
    """Like YOLOv3's, coarse level first."""
    shapes = {32: [(40, 30), (60, 70)], 16: [(20, 40), (30, 18)], 8: [(8, 10), (12, 24)]}
    return grid_priors([square_level(size, s, shapes[s]) for s in (32, 16, 8)])


def proposals(batch: int, count: int = 60, size: int = 64, seed: int = 0) -> Priors:
    """Boxes of each image's own, without a grid."""
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(batch, count, 2, generator=g) * size * 0.8
    side = torch.rand(batch, count, 2, generator=g) * size * 0.5 + 2
    strides = torch.tensor([[8.0, 8.0], [16.0, 16.0]])[torch.arange(count) % 2]
    return Priors(torch.cat((corner, corner + side), dim=-1), strides)


def image_of(priors: Priors, i: int) -> Priors:
    """The priors of one image of the batch."""
    boxes = priors.boxes[i : i + 1] if priors.per_image else priors.boxes
    centers = priors.centers[i : i + 1] if priors.per_image else priors.centers
    valid = None if priors.valid is None else priors.valid[i : i + 1]
    return replace(priors, boxes=boxes, centers=centers, valid=valid)


def gt_of(
    boxes: Sequence[Sequence], size: int = 64, *, ignore: Sequence[Sequence] | None = None
) -> GroundTruth:
    """Ground truth from lists of boxes; labels count up."""
    tensors = [torch.tensor(b, dtype=torch.float32).reshape(-1, 4) for b in boxes]
    labels = [torch.arange(len(b)) % CLASSES for b in tensors]
    regions = None
    if ignore is not None:
        regions = [torch.tensor(b, dtype=torch.float32).reshape(-1, 4) for b in ignore]
    return GroundTruth.from_lists(
        tensors, labels, [(size, size)] * len(boxes), ignore_boxes=regions
    )


def select_gts(gt: GroundTruth, order: Tensor) -> GroundTruth:
    """The gts at ``order (M',)``, in every image."""
    fields = ('boxes', 'labels', 'valid', 'points', 'groups')
    return replace(gt, **{name: getattr(gt, name)[:, order] for name in fields})


def gt_image(gt: GroundTruth, i: int) -> GroundTruth:
    """One image of the batch."""
    names = [name for name in vars(gt) if isinstance(getattr(gt, name), Tensor)]
    return replace(gt, **{name: getattr(gt, name)[i : i + 1] for name in names})


def odd_boxes(r: random.Random, size: int, count: int, *, ties: bool = True) -> list[tuple]:
    """Boxes of every kind a data set may hold."""
    boxes: list[tuple] = []
    kinds = ['any', 'any', 'tiny', 'huge', 'edge', 'outside', 'flat']
    kinds += ['grid', 'grid', 'twin', 'point'] if ties else []
    while len(boxes) < count:
        kind = r.choice(kinds)
        x, y = r.uniform(-10, size), r.uniform(-10, size)
        if kind == 'grid':
            s = r.choice([8, 16, 32])
            x, y = r.randrange(0, size, s), r.randrange(0, size, s)
            w, h = s * r.choice([1, 2, 4]), s * r.choice([1, 2, 4])
            boxes.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        elif kind == 'twin' and boxes:
            boxes.append(r.choice(boxes))
        elif kind == 'point':
            boxes.append((x, y, x, y))
        elif kind == 'flat':
            boxes.append((x, y, x + r.uniform(1, 20), y))
        elif kind == 'tiny':
            boxes.append((x, y, x + r.uniform(0.1, 2), y + r.uniform(0.1, 2)))
        elif kind == 'huge':
            boxes.append((-r.uniform(0, size), -3, size * r.uniform(1, 2), size * 1.1))
        elif kind == 'edge':
            x = size - r.uniform(0, 3)
            boxes.append((x, y, x + r.uniform(1, 40), y + r.uniform(1, 40)))
        elif kind == 'outside':
            boxes.append((size + 1, y, size + 20, y + 10))
        elif kind == 'any':
            w, h = r.uniform(0, size / 2), r.uniform(0, size / 2)
            boxes.append((x, y, x + w, y + h))
    return boxes


def random_gt(seed: int, batch: int = 3, size: int = 64, *, ties: bool = True) -> GroundTruth:
    """A batch of odd boxes; about one image in five has none."""
    r = random.Random(seed)
    counts = [r.choice([0, 1, 2, 5, 12]) for _ in range(batch)]
    return gt_of([odd_boxes(r, size, count, ties=ties) for count in counts], size)


def separate_gts(seed: int, batch: int = 3, size: int = 64) -> GroundTruth:
    """Two gts in opposite quarters of an image, so that they do not want the same priors."""
    r = random.Random(seed)
    images = []
    for _ in range(batch):
        boxes = []
        for corner in (0, size / 2):
            w, h = r.uniform(18, 26), r.uniform(18, 26)
            left, top = corner + r.uniform(0, 32 - w), corner + r.uniform(0, 32 - h)
            boxes.append((left, top, left + w, top + h))
        images.append(boxes)
    return gt_of(images, size)


def random_predictions(
    seed: int, priors: Priors, batch: int, classes: int = CLASSES
) -> Predictions:
    """Boxes that wander about the priors, and scores."""
    g = torch.Generator().manual_seed(seed)
    boxes = priors.boxes.expand(batch, -1, 4)
    size = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2).clamp(min=1)
    moved = boxes + (torch.rand(boxes.shape, generator=g) - 0.5) * 0.5 * size
    low = torch.minimum(moved[..., :2], moved[..., 2:])
    high = torch.maximum(moved[..., :2], moved[..., 2:])
    scores = torch.rand(batch, boxes.shape[1], classes, generator=g)
    return Predictions(torch.cat((low, high), dim=-1), scores)


def pairs_of(assignment) -> list[tuple[int, int, int]]:
    """(image, prior, gt) of every pair."""
    return list(zip(assignment.image.tolist(), assignment.prior.tolist(), assignment.gt.tolist()))
