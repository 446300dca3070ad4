"""What a head predicts before it has learnt anything.

Shapes: A priors a cell, C classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..losses.declared import declared


def prior_sides(prior_generator: Any) -> tuple[float, float]:
    """Width and height, in cells, of the first prior of a cell of the first level."""
    level = prior_generator.level(0, (1, 1))
    (width, height), (x, y) = level.base_sizes[0], level.stride
    return width / x, height / y


@torch.no_grad()
def start_rare_classes(bias: Tensor, num_classes: int, loss: Any, prob: float = 0.01) -> None:
    """Biases by which objects are rare, so that the many negatives do not drown the rest.

    Lin et al., Focal Loss for Dense Object Detection, 2017, section 3.3: each class of a
    sigmoid at ``prob``; of a softmax all classes
    together, by a bias ``log(C (1 - prob) / prob)`` of the background.

    Args:
        bias: ``(A * outputs,)``, changed in place.
        num_classes: C.
        loss: Its ``activation`` turns outputs to probabilities.
        prob: How likely an object is to begin with.
    """
    activation = declared(loss).class_activation
    if activation == 'softmax':
        by_prior = bias.zero_().view(-1, num_classes + 1)
        by_prior[:, -1] = math.log(num_classes * (1 - prob) / prob)
    else:
        bias.fill_(prob if activation == 'identity' else -math.log((1 - prob) / prob))


@torch.no_grad()
def start_few_objects(
    bias: Tensor,
    num_classes: int,
    stride: Any,
    *,
    class_loss: Any,
    objectness_loss: Any,
    image: int = 640,
) -> None:
    """Biases by which a level expects about 8 objects in an image, each class at 1 %.

    Args:
        bias: ``(A, 4 + 1 + C)`` of box, objectness, classes; changed in place.
        num_classes: C, the last values of an anchor.
        stride: Pixels a cell, a number or (x, y).
        class_loss: Its activation turns class outputs into probabilities.
        objectness_loss: Its activation turns the objectness into one.
        image: Side of the image in pixels.
    """
    x, y = stride if isinstance(stride, Sequence) else (stride, stride)
    per_prior = min(8 / ((image / x) * (image / y)), 0.5)
    bias.zero_()
    bias[:, 4] = _output_of(per_prior, objectness_loss)
    bias[:, -num_classes:] = _output_of(0.01, class_loss)


def _output_of(prob: float, loss: Any) -> float:
    """The output that a loss reads as a probability: itself, or the logit of it."""
    plain = declared(loss).class_activation == 'identity'
    return prob if plain else math.log(prob / (1 - prob))


@torch.no_grad()
def start_at_distance(bias: Tensor, distance: float) -> None:
    """Biases of bins 0 to n - 1 whose softmax has the expectation ``distance``.

    The flattest such distribution: logits in proportion to the bin.

    Args:
        bias: ``(..., n)``, changed in place.
        distance: In bins; beyond the bins it counts as close to the last.
    """
    bins = torch.arange(bias.shape[-1], dtype=torch.float64)
    wanted = min(max(distance, 0.05), float(bins[-1]) - 0.05)
    low, high = -50.0, 50.0
    for _ in range(60):  # the expectation rises with the slope: bisection
        slope = (low + high) / 2
        if float((slope * bins).softmax(0) @ bins) < wanted:
            low = slope
        else:
            high = slope
    bias.copy_(((low + high) / 2 * (bins - bins.mean())).to(bias))
