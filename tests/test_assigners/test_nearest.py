"""The windowed search for the nearest priors, against reading the whole level.

Shapes: B images, N priors, G gts, k nearest.
"""

import random

import pytest
import torch
from torch import Tensor

from registry_losses.assigners.candidates.nearest import nearest_topk
from registry_losses.assigners.candidates.windows import Search, Targets
from registry_losses.structures import Level, Priors

from . import scenes

IMAGES = 2


def random_level(r: random.Random) -> Level:
    """Any grid: long, thin, of a single cell, with cells that are no squares."""
    stride = r.choice([4.0, 8.0, 16.0, 7.3])
    other = stride if r.random() < 0.6 else r.choice([4.0, 8.0, 16.0, 6.1])
    bases = tuple((8.0 * (a + 1), 8.0) for a in range(r.choice([1, 1, 2, 3])))
    offset = r.choice([0.0, 0.5, 0.3])
    return Level(r.randint(1, 14), r.randint(1, 14), (stride, other), bases, offset)


def random_search(seed: int) -> tuple[list[Search], int]:
    """Some levels, some of whose priors may be invalid, and gts on and beside the grid."""
    r, g = random.Random(seed), torch.Generator().manual_seed(seed)
    levels = [random_level(r) for _ in range(r.randint(1, 3))]
    priors = scenes.grid_priors(levels)
    if r.random() < 0.4:
        share = r.choice([0.05, 0.5, 0.95])
        valid = torch.rand(IMAGES, priors.num_priors, generator=g) < share
        priors = priors.with_valid(valid)
    centers = torch.rand(8, 2, generator=g) * 120 - 10
    if r.random() < 0.5:  # on the grid, where distances tie
        centers = (centers / 4).round() * 4
    if r.random() < 0.2:  # far outside
        centers = centers * 100
    scale = torch.rand(8, 2, generator=g) * 30 + 0.1 if r.random() < 0.3 else None
    targets = Targets(torch.randint(0, IMAGES, (8,), generator=g), centers, scale)
    searches = [
        Search(priors, targets, *level) for level in zip(priors.level_starts, priors.level_sizes)
    ]
    return searches, r.choice([1, 2, 3, 5, 9, 13, 20])


def whole_level(priors: Priors, search: Search, k: int) -> Tensor:
    """``(G, k)`` the k nearest priors, sorted by number; -1 where candidates ran out.

    With one prior a cell the choice among equals is torch.topk's over the whole level,
    with several the lower prior's.
    """
    targets = search.targets
    part = slice(search.first, search.first + search.size)
    offset = priors.centers[part] - targets.centers[:, None]
    if targets.scale is not None:
        offset = offset / targets.scale[:, None]
    distance = offset.pow(2).sum(dim=-1).sqrt()
    if priors.valid is not None:
        distance = torch.where(priors.valid[targets.image, part], distance, torch.inf)
    level = priors.levels[priors.level_starts.index(search.first)]
    if level.num_base == 1:
        value, index = distance.topk(k, dim=1, largest=False)
    else:
        index = torch.argsort(distance, dim=1, stable=True)[:, :k]
        value = distance.gather(1, index)
    return torch.where(value < torch.inf, index + search.first, -1).sort(dim=1).values


@pytest.mark.parametrize('first', range(0, 400, 100))
def test_the_window_holds_the_nearest(first):
    for seed in range(first, first + 100):
        searches, k = random_search(seed)
        for search, (index, exists) in zip(searches, nearest_topk(searches, k)):
            expected = whole_level(search.priors, search, min(k, search.size))
            found = torch.where(exists, index, -1).sort(dim=1).values
            assert torch.equal(found, expected), seed


def test_the_nearest_comes_first():
    for seed in range(50):
        searches, k = random_search(seed)
        for search, (index, exists) in zip(searches, nearest_topk(searches, k)):
            distance = search.targets.distances(search.priors.centers[index])
            distance = torch.where(exists, distance, torch.inf)
            assert (distance[:, :-1] <= distance[:, 1:]).all(), seed


def test_what_is_derived_stays_with_its_priors():
    """Kept for priors that differ in validity, worked out anew for other priors."""
    priors = scenes.points()
    first = priors.once('sum', lambda own: own.centers.sum())
    some = priors.with_valid(torch.ones(1, priors.num_priors, dtype=torch.bool))
    assert some.once('sum', lambda own: own.centers.sum() + 1) is first
    moved = scenes.replace(priors, centers=priors.centers + 1)
    assert moved.once('sum', lambda own: own.centers.sum()) > first
