"""Samplers that rank by loss, against naive loops."""

from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_scenes import budget, run, scene, sets_of

from registry_losses.samplers import HardNegativeSampler, OHEMSampler


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6), ratio=st.sampled_from([0, 0.5, 3]), least=st.sampled_from([0, 5])
)
def test_hard_negatives_equal_the_naive_loop(seed, ratio, least):
    parts = scene(seed, n=40, ties=seed % 2 == 0)
    after = run(HardNegativeSampler(ratio, least), parts)
    for image in range(3):
        positive, negative, _, _ = sets_of(parts[0], image)
        count = max(least, int(ratio * len(positive)))
        loss = parts[3][image].tolist()
        wanted = sorted(negative, key=lambda flat_index: (-loss[flat_index], flat_index))[:count]
        now_positive, now_negative, _, _ = sets_of(after, image)
        assert now_positive == positive
        assert now_negative == set(wanted)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), num=st.integers(1, 30), upper=st.sampled_from([-1, 0, 1.5]))
def test_ohem_equals_the_naive_loop(seed, num, upper):
    parts = scene(seed, n=40, ties=seed % 2 == 0)
    sampler = OHEMSampler(num, 0.4, neg_pos_ub=upper)
    after = run(sampler, parts)
    for image in range(3):
        positive, negative, _, _ = sets_of(parts[0], image)
        loss = parts[3][image].tolist()
        counts = budget(sampler, positive, negative)
        wanted = [
            set(sorted(pool, key=lambda flat_index: (-loss[flat_index], flat_index))[:count])
            for pool, count in zip((positive, negative), counts, strict=True)
        ]
        assert list(sets_of(after, image)[:2]) == wanted


def test_infinite_and_undefined_losses_come_first():
    parts = scene(2, batch=1, n=30, positives=0)
    parts[3][0, 3], parts[3][0, 8] = float('inf'), float('nan')
    parts[0].ignored[:] = False
    assignment = parts[0].replace(soft=None)
    after = run(HardNegativeSampler(3, min_neg=2), (assignment, *parts[1:]))
    assert (~after.ignored[0]).nonzero().squeeze(1).tolist() == [3, 8]
