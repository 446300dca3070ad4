"""Compares an assigner with its reference in plain loops.

Shapes: B images, N priors, M gts.
"""

from collections.abc import Callable, Iterable

import torch

from registry_losses.assigners import BaseAssigner
from registry_losses.structures import Assignment, GroundTruth, Predictions, Priors
from registry_losses.testing.reference.assigners import Answer, Image, images_of

from . import scenes

BATCH = 2
GRIDS = {'anchors': scenes.anchors, 'points': scenes.points, 'yolo': scenes.yolo_anchors}


def kinds_for(assigner: BaseAssigner) -> list[str]:
    """The kinds of priors that an assigner is defined for."""
    return list(GRIDS) if assigner.requires_grid else [*GRIDS, 'proposals']


def scene(
    kind: str, seed: int, *, ties: bool = True, size: int = 64
) -> tuple[Priors, GroundTruth, Predictions]:
    """Priors, some of which are left out in two of three scenes; odd gts; predictions."""
    priors = scenes.proposals(BATCH) if kind == 'proposals' else GRIDS[kind](size)
    share = (1.0, 0.9, 0.3)[seed % 3]
    if share < 1:
        g = torch.Generator().manual_seed(seed)
        valid = torch.rand(BATCH, priors.num_priors, generator=g) < share
        priors = priors.with_valid(valid)
    gt = scenes.random_gt(seed, BATCH, ties=ties, size=size)
    return priors, gt, scenes.random_predictions(seed, priors, BATCH)


def compare(
    assigner: BaseAssigner,
    rule: Callable[[Image], Answer],
    *,
    seeds: Iterable[int] = range(6),
    kinds: Iterable[str] | None = None,
    ties: bool = True,
) -> int:
    """The number of pairs, all of which the reference finds too, and no other."""
    pairs = 0
    for kind in kinds or kinds_for(assigner):
        for seed in seeds:
            priors, gt, predictions = scene(kind, seed, ties=ties)
            found = assigner(priors, gt, predictions)
            agrees(found, [rule(image) for image in images_of(priors, gt, predictions)])
            pairs += found.num_pairs
    return pairs


def agrees(found: Assignment, answers: list[Answer]) -> None:
    """Equal pairs and ignored priors; qualities and soft targets up to rounding."""
    pairs = [(b, *pair) for b, answer in enumerate(answers) for pair in answer.pairs]
    assert scenes.pairs_of(found) == pairs
    for b, answer in enumerate(answers):
        ignored = found.ignored[b].nonzero()[:, 0].tolist()
        assert ignored == sorted(answer.ignored)
        soft = {}
        if found.soft is not None:
            mine = found.soft.image == b
            entries = zip(found.soft.prior[mine].tolist(), found.soft.label[mine].tolist())
            soft = dict(zip(entries, found.soft.value[mine].tolist()))
            assert len(soft) == int(mine.sum())  # each entry once
            assert all(0 < value < 1 for value in soft.values())
        assert soft.keys() == answer.soft.keys()
        for key, value in answer.soft.items():
            assert abs(soft[key] - value) < 1e-5
    for i, (b, n, g) in enumerate(pairs):
        expected = max(answers[b].quality.get((n, g), 1.0), 1e-7)
        assert abs(float(found.quality[i]) - expected) < 1e-5


def grid(*strides: float, size: int = 64, bases: list | None = None) -> Priors:
    """Square cells over a square image, whose base boxes are the cells themselves."""
    return scenes.grid_priors([scenes.square_level(size, s, bases or [(s, s)]) for s in strides])


def predict(boxes: torch.Tensor, scores: float | torch.Tensor = 0.5) -> Predictions:
    """Predictions of one image; ``scores`` may be one number for every prior and class."""
    if not isinstance(scores, torch.Tensor):
        scores = torch.full((boxes.shape[0], scenes.CLASSES), float(scores))
    return Predictions(boxes[None], scores[None])
