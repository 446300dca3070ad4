import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_losses.errors import ShapeError
from registry_losses.ops import batched_nms, nms
from registry_losses.ops.nms import _torchvision_nms


def naive_nms(boxes, scores, groups, threshold):
    """Box by box, in Python."""

    def overlap(a, b):
        width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
        height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
        areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
        union = sum(areas) - width * height
        return width * height / union if union else 0

    order = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        rivals = [k for k in kept if groups[k] == groups[i]]
        if all(overlap(boxes[k], boxes[i]) <= threshold for k in rivals):
            kept.append(i)
    return kept


def case(seed, n, groups, spread, *, ties=False):
    generator = torch.Generator().manual_seed(seed)
    low = (torch.rand(n, 2, generator=generator) * spread).round()
    size = (torch.rand(n, 2, generator=generator) * 60).round()
    scores = torch.rand(n, generator=generator)
    if ties:
        scores = (scores * 6).round() / 6
    return (
        torch.cat((low, low + size), 1),
        scores,
        torch.randint(0, groups, (n,), generator=generator),
    )


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize('groups', [1, 3, 60])
@pytest.mark.parametrize('n', [0, 1, 2, 70, 600])
def test_equals_the_naive_loop(n, groups, threshold):
    boxes, scores, idxs = case(n + groups, n, groups, 40 if n < 600 else 300, ties=n == 70)
    got = batched_nms(boxes, scores, idxs, threshold, backend='torch').tolist()
    assert got == naive_nms(boxes.tolist(), scores.tolist(), idxs.tolist(), threshold)


whole = st.integers(0, 12)
instance = st.tuples(whole, whole, whole, whole, st.integers(0, 4), st.integers(0, 2))


@settings(max_examples=100, deadline=None)
@given(st.lists(instance, max_size=40), st.sampled_from([0.2, 0.5, 0.7]))
def test_equals_the_naive_loop_on_ties_duplicates_and_empty_boxes(instances, threshold):
    boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h, _, _ in instances]).reshape(-1, 4)
    scores = torch.tensor([s / 4 for *_, s, _ in instances])
    groups = torch.tensor([g for *_, g in instances], dtype=torch.long)
    got = batched_nms(boxes.float(), scores, groups, threshold, backend='torch').tolist()
    assert got == naive_nms(boxes.tolist(), scores.tolist(), groups.tolist(), threshold)


def test_a_chain_of_dependencies_longer_than_a_block():
    """Each box covers the next one alone: every second box stays, however many there are."""
    n = 700
    left = torch.arange(n) * 3.0
    boxes = torch.stack((left, torch.zeros(n), left + 10, torch.ones(n) * 10), 1)
    kept = nms(boxes, torch.arange(n, 0, -1).float(), 0.5)  # neighbours overlap by 7 / 13
    assert kept.tolist() == list(range(0, n, 2))


def test_ties_favour_the_lower_index():
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(4, 1)
    assert nms(boxes, torch.tensor([0.5, 0.7, 0.7, 0.7]), 0.5).tolist() == [1]


def test_the_threshold_itself_does_not_suppress():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 5, 10]])
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, 0.4999).tolist() == [0]


def test_groups_far_apart_cost_no_precision():
    """A thousand groups: coordinates shifted apart would round at half a pixel."""
    boxes = torch.tensor([[0.0, 0, 10, 10.01], [0, 0, 10, 5.01]]).repeat(1000, 1)  # IoU .50050
    scores = torch.linspace(1, 0.5, 2000)
    groups = torch.arange(1000).repeat_interleave(2) * 7919
    assert len(batched_nms(boxes, scores, groups, 0.5)) == 1000
    assert len(batched_nms(boxes, scores, groups, 0.501)) == 2000


def test_options():
    boxes, scores, idxs = case(0, 80, 4, 30)
    agnostic = batched_nms(boxes, scores, idxs, 0.5, class_agnostic=True)
    assert torch.equal(agnostic, nms(boxes, scores, 0.5))
    few = batched_nms(boxes, scores, idxs, 0.5, max_per_img=3)
    assert torch.equal(few, batched_nms(boxes, scores, idxs, 0.5)[:3])
    assert torch.equal(few, scores.topk(3).indices) or len(few) == 3


def test_half_precision_boxes():
    boxes, scores, idxs = case(0, 80, 4, 30)
    got = batched_nms(boxes.half(), scores.half(), idxs, 0.5)
    assert torch.equal(got, batched_nms(boxes.half().float(), scores.half().float(), idxs, 0.5))


def test_errors():
    boxes, scores, idxs = case(0, 5, 4, 30)
    with pytest.raises(ShapeError, match='scores'):
        batched_nms(boxes, scores[:3], idxs, 0.5)
    with pytest.raises(ValueError, match='backend'):
        batched_nms(boxes, scores, idxs, 0.5, backend='cuda')


@pytest.mark.skipif(_torchvision_nms() is None, reason='needs a torchvision that fits torch')
def test_torchvision_agrees():
    boxes, scores, idxs = case(1, 500, 5, 200)
    ours = batched_nms(boxes, scores, idxs, 0.51, backend='torch')
    assert torch.equal(batched_nms(boxes, scores, idxs, 0.51, backend='torchvision'), ours)
