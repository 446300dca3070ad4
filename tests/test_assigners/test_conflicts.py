"""Who gets a prior that several gts claim, against plain loops."""

import pytest
import torch

from registry_losses.assigners.conflicts import (
    best_of_all_gts,
    resolve_conflicts,
    resolve_with_overrides,
    winners,
)

from . import scenes


@pytest.mark.parametrize('largest', [True, False])
def test_winners_are_the_claims_that_stay(largest):
    g = torch.Generator().manual_seed(0)
    for seed in range(20):
        claims = torch.rand(40, generator=g) < 0.7
        flat_index = torch.randint(0, 12, (40,), generator=g)
        gt = torch.randperm(40, generator=g)
        scores = (torch.rand(40, generator=g) * 4).round() / 4
        # A prior's best claim by a loop: the score, then the lower gt.
        best: dict[int, tuple] = {}
        for s, v, i, claimed in zip(
            flat_index.tolist(), scores.tolist(), gt.tolist(), claims.tolist()
        ):
            rank = (-v if largest else v, i)
            if claimed and (s not in best or rank < best[s]):
                best[s] = rank
        expected = sorted((s, i) for s, (_, i) in best.items())
        found = winners(flat_index, scores, gt, 12, largest=largest, claims=claims)
        assert list(zip(*(v.tolist() for v in found))) == expected, seed
        stay = resolve_conflicts(
            flat_index[claims], scores[claims], gt[claims], 12, largest=largest
        )
        pairs = zip(flat_index[claims][stay].tolist(), gt[claims][stay].tolist())
        assert sorted(pairs) == expected, seed


def test_overrides_outrank_every_score():
    """Of several claims that override the last gt's counts, otherwise the best score's."""
    flat_index = torch.tensor([0, 0, 0, 1, 1, 2, 3])
    gt = torch.tensor([0, 1, 2, 0, 1, 0, 0])
    scores = torch.tensor([0.9, 0.5, 0.1, 0.7, 0.7, 0.2, 0.0])
    claims = scores >= 0.5
    overrides = torch.tensor([False, True, True, False, False, False, False])
    stay = resolve_with_overrides(flat_index, scores, gt, 4, claims=claims, overrides=overrides)
    assert stay.tolist() == [False, False, True, True, False, False, False]
    stay = resolve_with_overrides(flat_index, scores, gt, 4, claims=claims, overrides=None)
    assert stay.tolist() == [True, False, False, True, False, False, False]


@pytest.mark.parametrize('largest', [True, False])
def test_best_of_all_gts(largest):
    gt = scenes.gt_of([[(0, 0, 8, 8), (0, 0, 9, 9), (0, 0, 9, 9)], [(0, 0, 8, 8)]])
    scores = torch.tensor([[0.1, 0.9, 0.9], [0.3, 0.2, 0.9], [0.5, 0.0, 1.0]])
    image, prior = torch.tensor([0, 0, 1]), torch.arange(3)
    best = best_of_all_gts(image, prior, gt, lambda _, n: scores[n], largest=largest)
    assert best.tolist() == ([1, 2, 0] if largest else [0, 1, 0])  # one gt in image 1
