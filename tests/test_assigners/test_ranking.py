"""Keys, conflicts and ragged top-k against plain loops.

Shapes: T candidates, S segments, k best of each.
"""

import random

import pytest
import torch

from registry_losses.assigners.dynamic_soft_label import DynamicSoftLabelAssigner
from registry_losses.assigners.matching.conflicts import resolve_conflicts, winners
from registry_losses.assigners.matching.dynamic_k import _Matching
from registry_losses.ops import device
from registry_losses.ops.segments import best_key, count_of, segment_topk
from registry_losses.structures import Predictions
from registry_losses.structures.assignment import order_of

from . import scenes

# Alike, so that one matrix holds them; and so different that it would be mostly padding.
LENGTHS = {
    'alike': [3, 4, 2, 3],
    'uneven': [0, 1, 90, 2, 0, 1, 1, 3, 17, 0],
    'one': [5],
    'none': [0, 0],
    'no segment': [],
}


@pytest.mark.parametrize('largest', [True, False])
@pytest.mark.parametrize('k', [1, 3, 20])
@pytest.mark.parametrize('lengths', LENGTHS)
def test_segment_topk(lengths, k, largest):
    r, counts = random.Random(k), LENGTHS[lengths]
    # Few values, so that many tie; both zeros; infinities.
    choices = [-2.5, -0.0, 0.0, 0.5, 1.0, float('inf'), -float('inf')]
    values = [r.choice(choices) for _ in range(sum(counts))]
    index, exists = segment_topk(
        torch.tensor(values), torch.tensor(counts, dtype=torch.long), k, largest=largest
    )
    assert index.shape == exists.shape == (len(counts), k)
    first = 0
    for row, count in enumerate(counts):
        sign = -1 if largest else 1
        order = sorted(range(first, first + count), key=lambda i: (sign * values[i], i))[:k]
        assert index[row][exists[row]].tolist() == order
        assert exists[row].tolist() == [i < count for i in range(k)]
        assert not index[row][~exists[row]].any()
        first += count


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


def test_best_key_orders_all_floats():
    values = torch.tensor([-float('inf'), -3.0, -1e-40, -0.0, 0.0, 1e-40, 2.0, float('inf')])
    none = torch.zeros(8, dtype=torch.long)
    key = best_key(values, none)
    assert (key.diff() >= 0).all() and key[3] == key[4]
    assert torch.equal(best_key(values, none, largest=False).argsort(stable=True)[:1], none[:1] + 7)


@pytest.mark.parametrize('hosts', [{'cpu'}, set()])
def test_order_and_counts(hosts, monkeypatch):
    monkeypatch.setattr(device, '_HOST_DEVICES', hosts)
    keys = torch.randperm(500) - 250
    assert torch.equal(keys[order_of(keys)], torch.arange(-250, 250))
    assert count_of(torch.tensor([2, 0, 2]), 4).tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize('scale', [0.02, 1.0])
def test_a_neighbourhood_too_narrow_may_be_skipped(scale, monkeypatch):
    """Where to begin is a matter of cost: with low and with high scores the answer stays."""
    skipped = []
    plain = _Matching._too_narrow
    for seed in range(4):
        priors, gt = scenes.points(128), scenes.random_gt(seed, 2, size=128)
        found = scenes.random_predictions(seed, priors, 2)
        high = found.scores.repeat(1, 1, 30)  # over many classes the cost adds up
        predictions = Predictions(found.boxes, high * scale)
        answers = []
        for narrow in (plain, lambda *_: True, lambda *_: False):
            monkeypatch.setattr(_Matching, '_too_narrow', narrow)
            answers.append(DynamicSoftLabelAssigner()(priors, gt, predictions))
        assert scenes.pairs_of(answers[0]) == scenes.pairs_of(answers[1])
        assert scenes.pairs_of(answers[0]) == scenes.pairs_of(answers[2])

        def watched(self, near):
            skipped.append(plain(self, near))
            return skipped[-1]

        monkeypatch.setattr(_Matching, '_too_narrow', watched)
        DynamicSoftLabelAssigner()(priors, gt, predictions)
    assert any(skipped) == (scale == 1.0)
