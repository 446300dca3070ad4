"""Losses of bottom-up pose: similarity of keypoints, tags of persons."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def oks(pred: Tensor, target: Tensor, area: Tensor, sigmas: Sequence[float]) -> Tensor:
    """``(K,)`` of keypoints ``(K, V, 2)``; D. Maji et al., YOLO-Pose (2022)."""
    squared = ((pred - target) ** 2).sum(dim=2)
    variance = (2 * torch.tensor(sigmas, dtype=pred.dtype)) ** 2
    return 1 - torch.exp(-squared / (2 * area[:, None] * variance)).mean(dim=1)


def associative_embedding(persons: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Pull and push of one image, a list of tags for each person.

    A. Newell et al., Associative Embedding (2017), as OpenMMLab averages it.
    """
    means = [sum(tags) / len(tags) for tags in persons]
    pull = sum(
        sum((tag - mean) ** 2 for tag in tags) / len(tags) for tags, mean in zip(persons, means)
    )
    n = len(persons)
    push = sum(math.exp(-((a - b) ** 2)) for a in means for b in means)
    return pull / n, push / (n * (n - 1)) if n > 1 else 0.0
