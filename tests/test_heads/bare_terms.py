"""Priors, gts and pairs stated directly, and what a LossTerm reads of them."""

import math

import torch
from torch import Tensor

from registry_losses.heads import LossInputs
from registry_losses.structures import Assignment, GroundTruth, Level, Priors


def ints(*values) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def grid_priors(*shapes, stride=8.0, base=1) -> Priors:
    """Square priors of side ``stride`` on grids of the given (height, width)."""
    boxes, levels = [], []
    for height, width in shapes:
        levels.append(Level(height, width, (stride, stride), ((stride, stride),) * base))
        for y in range(height):
            for x in range(width):
                box = [x * stride, y * stride, (x + 1) * stride, (y + 1) * stride]
                boxes += [box] * base
    strides = torch.full((len(boxes), 2), stride)
    return Priors(torch.tensor(boxes), strides, tuple(levels))


def ground_truth(*images, size=(64, 64)) -> GroundTruth:
    """Each image a list of (box, label)."""
    boxes = [torch.tensor([b for b, _ in image]).reshape(-1, 4) for image in images]
    labels = [ints(*[label for _, label in image]) for image in images]
    return GroundTruth.from_lists(boxes, labels, [size] * len(images))


def pairs(*rows, batch, num_priors, ignored=(), **options) -> Assignment:
    """Each row (image, prior, gt)."""
    image, prior, gt = ints(*rows).reshape(-1, 3).unbind(1)
    mask = torch.zeros(batch, num_priors, dtype=torch.bool)
    for i, n in ignored:
        mask[i, n] = True
    return Assignment(image, prior, gt, mask, **options)


def inputs(output, priors, gt, assignment, num_classes=3, coder=None) -> LossInputs:
    return LossInputs(output, priors, gt, assignment, coder, num_classes)


def bce(logit: float, target: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))
