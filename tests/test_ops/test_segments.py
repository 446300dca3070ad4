"""Keys, conflicts and ragged top-k against plain loops.

Shapes: T candidates, S segments, k best of each.
"""

import random

import pytest
import torch

from registry_losses.ops import device
from registry_losses.ops.segments import (
    best_key,
    count_of,
    lowest_k,
    lowest_key,
    rank_of,
    segment_high,
    segment_topk,
    split_best_key,
    split_lowest_key,
    split_rank,
)
from registry_losses.structures.assignment import order_of

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


VALUES = [-float('inf'), -3.5, -1e-40, 0.0, 1e-40, 2.25, float('inf')]


@pytest.mark.parametrize('largest', [True, False])
def test_keys_give_back_what_they_hold(largest):
    values, tie = torch.tensor(VALUES), torch.tensor([5, 0, 7, 2**31 - 1, 1, 3, 2])
    found = split_best_key(best_key(values, tie, largest=largest), largest=largest)
    assert torch.equal(found[0], values) and torch.equal(found[1], tie)
    found = split_lowest_key(lowest_key(values, tie))
    assert torch.equal(found[0], values) and torch.equal(found[1], tie)
    found = split_rank(rank_of(values[3:]) - tie[3:])
    assert torch.equal(found[0], values[3:]) and torch.equal(found[1], tie[3:])


def test_lowest_k_breaks_ties_by_the_lower_number():
    values = torch.tensor([[0.5, 0.0, 0.5, 3.0]])
    value, tie = lowest_k(values, torch.tensor([[9, 8, 7, 6]]), 3, dim=1)
    assert value.tolist() == [[0.0, 0.5, 0.5]] and tie.tolist() == [[8, 7, 9]]


def test_segment_high():
    """With as many groups as candidates, the highest themselves."""
    values = torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0])
    segment = torch.tensor([0, 0, 0, 1, 1])
    index, top = segment_high(values, segment, 2, 2, groups=8)
    assert top.tolist() == [[5.0, 2.0], [4.0, 3.0]] and index.tolist() == [[1, 2], [3, 4]]
