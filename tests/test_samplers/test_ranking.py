"""Samplers that rank by loss, against naive loops."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_losses.samplers import HardNegativeSampler, OHEMSampler
from registry_losses.structures import Assignment, GroundTruth, Priors, SoftEntries


def scene(seed, *, batch=3, n=60, m=4, positives=0.2, doubles=True, soft=True, ties=False):
    """An assignment with doubles, ignored and soft priors; the last image has no pair."""
    g = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=g)

    kind = rand(batch, n)
    kind[-1] += positives
    is_positive = kind < positives
    image, prior = is_positive.nonzero(as_tuple=True)
    gt = torch.randint(0, m, image.shape, generator=g)
    if doubles:
        again = rand(len(image)) < 0.3
        image, prior = torch.cat((image, image[again])), torch.cat((prior, prior[again]))
        gt = torch.cat((gt, (gt[again] + 1) % m))
        order = torch.randperm(len(image), generator=g)
        image, prior, gt = image[order], prior[order], gt[order]
    ignored = (kind > 0.6) & (kind < 0.7)
    entries = None
    if soft:
        where = ((kind > 0.9) & (kind < 1)).nonzero(as_tuple=True)
        label = torch.zeros_like(where[0])
        entries = SoftEntries(*where, label, torch.full(label.shape, 0.5))
    assignment = Assignment(image, prior, gt, ignored, soft=entries, one_to_one=not doubles)
    low = rand(n, 2) * 80
    boxes = torch.cat((low, low + 10 + rand(n, 2) * 50), dim=1)
    low = rand(batch, m, 2) * 80
    gts = torch.cat((low, low + 10 + rand(batch, m, 2) * 50), dim=2)
    truth = GroundTruth.from_lists(
        list(gts), [torch.zeros(m) for _ in range(batch)], [(200, 200)] * batch
    )
    loss = rand(batch, n)
    if ties:
        loss = (loss * 3).round() / 3
    return assignment, Priors(boxes, torch.ones(n, 2)), truth, loss


def run(sampler, parts, **options):
    assignment, priors, gt, loss = parts
    return sampler(assignment, priors, gt, row_loss=loss, **options)


def sets_of(assignment, image):
    """Positive, negative, soft and ignored priors of an image as sets, by the definition."""
    mine = assignment.image == image
    positive = set(assignment.prior[mine].tolist())
    soft = set()
    if assignment.soft is not None:
        soft = set(assignment.soft.prior[assignment.soft.image == image].tolist()) - positive
    ignored = set(assignment.ignored[image].nonzero().squeeze(1).tolist())
    negative = set(range(assignment.num_priors)) - positive - soft - ignored
    return positive, negative, soft, ignored


def budget(sampler, positive, negative):
    """How many of each a sampler with a budget takes, as OpenMMLab states it."""
    taken = min(int(sampler.num * sampler.pos_fraction), len(positive))
    room = sampler.num - taken
    if sampler.neg_pos_ub >= 0:
        room = min(room, int(sampler.neg_pos_ub * max(1, taken)))
    return taken, min(room, len(negative))


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
