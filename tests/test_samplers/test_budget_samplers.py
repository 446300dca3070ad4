"""Samplers with a budget, against naive loops and the uniform distribution."""

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_scenes import budget, run, scene, sets_of

from registry_losses.ops import bbox_overlaps
from registry_losses.samplers import IoUBalancedNegSampler, RandomSampler, budget_samplers
from registry_losses.samplers.budget_samplers import best_overlaps
from registry_losses.samplers.keyed import mix_int
from registry_losses.structures import Assignment, GroundTruth, Priors


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), step=st.integers(0, 2**40), num=st.integers(1, 30))
def test_random_equals_the_naive_loop(seed, step, num):
    """The priors in the order of a hash written in Python integers."""
    parts = scene(seed, n=40)
    sampler = RandomSampler(num, 0.4, seed=seed)
    ids = torch.tensor([5, 2**35 + 1, 7])
    after = run(sampler, parts, step=step, image_ids=ids)
    for image in range(3):
        base = 0
        for word in (seed, 0, step & 0xFFFFFFFF, step >> 32):
            base = mix_int(base ^ word)
        low, high = int(ids[image]) & 0xFFFFFFFF, int(ids[image]) >> 32
        first = mix_int(high ^ mix_int(low ^ base))
        second = mix_int(first ^ 0x9E3779B9)

        def key(flat_index, first=first, second=second):
            value = mix_int((mix_int(flat_index ^ first) + second) & 0xFFFFFFFF)
            return value - 2**32 if value >> 31 else value

        positive, negative, _, _ = sets_of(parts[0], image)
        counts = budget(sampler, positive, negative)
        wanted = [
            set(sorted(pool, key=key)[:count])
            for pool, count in zip((positive, negative), counts, strict=True)
        ]
        assert list(sets_of(after, image)[:2]) == wanted


def test_random_choice_is_uniform():
    n, steps = 40, 1500
    ignored = torch.zeros(1, n, dtype=torch.bool)
    image = torch.zeros(10, dtype=torch.long)
    assignment = Assignment(image, torch.arange(10), image, ignored, one_to_one=True)
    parts = (assignment, Priors(torch.zeros(n, 4), torch.ones(n, 2)), scene(0, batch=1)[2], None)
    sampler = RandomSampler(9, 4 / 9)
    taken, together = torch.zeros(n), 0
    for step in range(steps):
        after = run(sampler, parts, step=step)
        chosen = ~after.ignored[0]
        taken += chosen
        together += int(chosen[10] and chosen[11])
    # Binomial: 0.4 and 1/6 of 1500, five standard deviations.
    assert (taken[:10] / steps - 0.4).abs().max() < 5 * (0.4 * 0.6 / steps) ** 0.5
    assert (taken[10:] / steps - 1 / 6).abs().max() < 5 * (5 / 36 / steps) ** 0.5
    # Two given negatives are both among 5 of 30 in (5 * 4) / (30 * 29) of the steps.
    assert abs(together / steps - 20 / 870) < 5 * (20 / 870 / steps) ** 0.5


def test_balanced_draws_each_interval_alike():
    """By hand: negatives with IoU .1, .3 and .5 (120, 20, 20 of them) in three intervals."""
    counts = {0.1: 120, 0.3: 20, 0.5: 20}
    rows = [[0, 0, 100 * share, 100] for share, count in counts.items() for _ in range(count)]
    boxes = torch.tensor(rows)
    truth = GroundTruth.from_lists(
        [torch.tensor([[0.0, 0, 100, 100]])], [torch.zeros(1)], [(200, 200)]
    )
    priors = Priors(boxes, torch.ones(160, 2))
    torch.testing.assert_close(best_overlaps(priors, truth)[0], boxes[:, 2] / 100)

    def drawn(num, **options):
        sampler = IoUBalancedNegSampler(num, 0, **options)
        after = sampler(Assignment.empty(1, 160), priors, truth)
        kept = ~after.ignored[0]
        return [int(kept[part].sum()) for part in (slice(120), slice(120, 140), slice(140, 160))]

    assert drawn(30) == [10, 10, 10]  # (0, 1/6], (1/6, 1/3], (1/3, 1/2]
    assert drawn(90) == [50, 20, 20]  # the two short intervals give all they have
    assert drawn(30, floor_thr=0.2, floor_fraction=0.5, num_bins=2)[0] == 15
    assert drawn(60, floor_thr=0.2, num_bins=2) == [20, 20, 20]  # the floor fills up
    assert drawn(30, floor_thr=0.2, num_bins=2) == [0, 15, 15]
    assert drawn(500) == [120, 20, 20]


def test_best_overlaps_equal_the_naive_maximum():
    _, priors, truth, _ = scene(3)
    valid = truth.valid.clone()
    valid[1, 2:] = False
    valid[2] = False
    truth = replace(truth, valid=valid)
    whole = best_overlaps(priors, truth)
    for image in range(3):
        boxes = truth.boxes[image][valid[image]]
        wanted = torch.zeros(60)
        if len(boxes):
            wanted = bbox_overlaps(priors.boxes, boxes).amax(dim=1)
        assert torch.equal(whole[image], wanted)
    old, budget_samplers._BUDGET = budget_samplers._BUDGET, 1  # gt by gt
    try:
        assert torch.equal(best_overlaps(priors, truth), whole)
    finally:
        budget_samplers._BUDGET = old
