from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_losses.errors import ConfigError, ShapeError
from registry_losses.ops import bbox_overlaps
from registry_losses.registry import TASK_UTILS
from registry_losses.samplers import (
    HardNegativeSampler,
    IoUBalancedNegSampler,
    OHEMSampler,
    PseudoSampler,
    RandomSampler,
    budget_samplers,
)
from registry_losses.samplers.budget_samplers import best_overlaps
from registry_losses.samplers.keyed import hashes_at, image_keys, mix_, mix_int, prior_hashes
from registry_losses.structures import Assignment, GroundTruth, Priors, SoftEntries

SAMPLERS = {
    'pseudo': lambda: PseudoSampler(),
    'random': lambda: RandomSampler(12, 0.5),
    'random_ub': lambda: RandomSampler(12, 0.25, neg_pos_ub=2),
    'hard': lambda: HardNegativeSampler(),
    'hard_min': lambda: HardNegativeSampler(1.5, min_neg=4),
    'ohem': lambda: OHEMSampler(12, 0.5),
    'balanced': lambda: IoUBalancedNegSampler(12, 0.25, num_bins=3),
    'balanced_floor': lambda: IoUBalancedNegSampler(
        12, 0.25, floor_thr=0.1, floor_fraction=0.3, num_bins=2
    ),
    'balanced_zero': lambda: IoUBalancedNegSampler(12, 0.25, floor_thr=0, floor_fraction=0.5),
}


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


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('name', SAMPLERS)
def test_what_is_chosen_comes_from_what_there_was(name, seed):
    parts = scene(seed, positives=[0.05, 0.2, 0.5][seed % 3], doubles=seed % 2 == 0)
    sampler = SAMPLERS[name]()
    before, after = parts[0], run(sampler, parts, step=seed)
    pairs = set(zip(*(x.tolist() for x in (before.image, before.prior, before.gt)), strict=True))
    kept = list(zip(*(x.tolist() for x in (after.image, after.prior, after.gt)), strict=True))
    assert set(kept) <= pairs and len(set(kept)) == len(kept)
    assert after.soft is before.soft
    for image in range(before.batch_size):
        positive, negative, _, ignored = sets_of(before, image)
        now_positive, now_negative, _, now_ignored = sets_of(after, image)
        assert now_positive <= positive and now_negative <= negative
        # A prior keeps all its pairs or none; dropped priors are ignored, soft ones are not.
        for flat_index in now_positive:
            count = sum(p[:2] == (image, flat_index) for p in pairs)
            assert sum(p[:2] == (image, flat_index) for p in kept) == count
        dropped = (positive - now_positive) | (negative - now_negative)
        assert now_ignored == ignored | dropped
        assert not now_ignored & now_positive
        if hasattr(sampler, 'num'):
            assert (len(now_positive), len(now_negative)) == budget(sampler, positive, negative)


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


@pytest.mark.parametrize('name', ['random', 'balanced', 'balanced_floor'])
def test_randomness_is_keyed_by_seed_step_and_image_alone(name):
    parts = scene(1, doubles=False, soft=False, positives=0.5)
    ids = torch.tensor([11, 12, 13])

    def chosen(step=0, seed=0, order=(0, 1, 2)):
        assignment, priors, gt, _ = parts
        order = torch.tensor(order)
        place = torch.full((3,), -1)
        place[order] = torch.arange(len(order))
        keep = place[assignment.image] >= 0
        some = assignment.select(keep)
        some = some.replace(image=place[some.image], ignored=assignment.ignored[order])
        fields = ('boxes', 'labels', 'valid', 'points', 'groups', 'image_sizes')
        fields += ('ignore_boxes', 'ignore_valid')
        truth = replace(gt, **{field: getattr(gt, field)[order] for field in fields})
        sampler = SAMPLERS[name]()
        sampler.seed = seed
        after = sampler(some, priors, truth, image_ids=ids[order], step=step)
        return after.ignored

    whole = chosen()
    assert torch.equal(chosen(), whole)
    assert torch.equal(chosen(order=(2, 0, 1)), whole[[2, 0, 1]])
    assert torch.equal(chosen(order=(1,)), whole[[1]])
    assert not torch.equal(chosen(step=1), whole)
    assert not torch.equal(chosen(seed=1), whole)


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


@pytest.mark.parametrize('name', SAMPLERS)
@pytest.mark.parametrize('batch, n', [(2, 0), (2, 7)])
def test_nothing_to_sample(name, batch, n):
    truth = GroundTruth.from_lists(
        [torch.zeros(0, 4)] * batch, [torch.zeros(0)] * batch, [(9, 9)] * batch
    )
    priors = Priors(torch.rand(n, 4), torch.ones(n, 2))
    after = SAMPLERS[name]()(
        Assignment.empty(batch, n), priors, truth, row_loss=torch.zeros(batch, n)
    )
    assert after.num_pairs == 0
    assert after.ignored.shape == (batch, n)
    if name in ('pseudo', 'random', 'balanced', 'balanced_floor', 'balanced_zero', 'ohem'):
        assert not after.ignored.any()


def test_infinite_and_undefined_losses_come_first():
    parts = scene(2, batch=1, n=30, positives=0)
    parts[3][0, 3], parts[3][0, 8] = float('inf'), float('nan')
    parts[0].ignored[:] = False
    assignment = parts[0].replace(soft=None)
    after = run(HardNegativeSampler(3, min_neg=2), (assignment, *parts[1:]))
    assert (~after.ignored[0]).nonzero().squeeze(1).tolist() == [3, 8]


def test_hashes():
    values = torch.randint(-(2**31), 2**31 - 1, (2000,)).to(torch.int32)
    wanted = [mix_int(v & 0xFFFFFFFF) for v in values.tolist()]
    assert [v & 0xFFFFFFFF for v in mix_(values.clone()).tolist()] == wanted
    keys = image_keys(3, 7, torch.tensor([0, 1, 2**33]))
    hashes = prior_hashes(keys, 5000)
    assert all(len(row.unique()) == 5000 for row in hashes)  # a bijection
    assert not torch.equal(hashes[0], hashes[2])
    image, flat_index = torch.tensor([2, 0, 2]), torch.tensor([4999, 0, 17])
    assert torch.equal(hashes_at(keys, image, flat_index), hashes[image, flat_index])


# OpenMMLab's form ---------------------------------------------------------------------


def image_in_openmmlabs_form(seed=0, n=50, m=3):
    g = torch.Generator().manual_seed(seed)
    gt_inds = torch.randint(-1, m + 1, (n,), generator=g)
    gt_inds[torch.rand(n, generator=g) < 0.6] = 0
    boxes = torch.rand(n, 4, generator=g).cumsum(-1) * 50
    gts = torch.rand(m, 4, generator=g).cumsum(-1) * 50
    return (
        SimpleNamespace(gt_inds=gt_inds, labels=None, num_gts=m),
        SimpleNamespace(priors=boxes),
        SimpleNamespace(bboxes=gts, labels=torch.arange(m) + 5),
    )


def test_pseudo_sampler_in_openmmlabs_form():
    assigned, preds, gts = image_in_openmmlabs_form()
    result = PseudoSampler().sample(assigned, preds, gts)
    positive = (assigned.gt_inds > 0).nonzero().squeeze(1)
    assert torch.equal(result.pos_inds, positive)
    assert torch.equal(result.neg_inds, (assigned.gt_inds == 0).nonzero().squeeze(1))
    assert torch.equal(result.pos_assigned_gt_inds, assigned.gt_inds[positive] - 1)
    assert torch.equal(result.pos_gt_bboxes, gts.bboxes[result.pos_assigned_gt_inds])
    assert torch.equal(result.pos_gt_labels, result.pos_assigned_gt_inds + 5)
    assert torch.equal(result.pos_priors, preds.priors[positive])
    assert torch.equal(result.neg_priors, preds.priors[result.neg_inds])
    assert result.num_gts == 3 and not result.pos_is_gt.any()
    assert result.avg_factor == result.num_pos == len(positive)
    assert result.num_neg == len(result.neg_inds)


def test_random_sampler_in_openmmlabs_form_adds_the_gts():
    assigned, preds, gts = image_in_openmmlabs_form()
    sampler = RandomSampler(40, 1.0)
    result = sampler.sample(assigned, preds, gts, feats=[torch.zeros(1)])
    assert torch.equal(result.all_priors, torch.cat((gts.bboxes, preds.priors)))
    chosen = torch.cat((result.pos_inds, result.neg_inds))
    assert torch.equal(result.priors, result.all_priors[chosen])
    assert result.pos_inds[:3].tolist() == [0, 1, 2]
    assert result.pos_is_gt.tolist() == [1, 1, 1] + [0] * (result.num_pos - 3)
    assert result.pos_assigned_gt_inds[:3].tolist() == [0, 1, 2]
    assert torch.equal(
        result.pos_assigned_gt_inds[3:] + 1, assigned.gt_inds[result.pos_inds[3:] - 3]
    )
    assert result.avg_factor == 40 == len(result.bboxes)
    again = sampler.sample(assigned, preds, gts)
    assert not torch.equal(again.neg_inds, result.neg_inds)  # a further call, a further step
    fixed = sampler.sample(assigned, preds, gts, step=0)
    assert torch.equal(fixed.neg_inds, result.neg_inds)
    plain = RandomSampler(40, 1.0, add_gt_as_proposals=False).sample(assigned, preds, gts)
    assert torch.equal(plain.all_priors, preds.priors)


def test_ohem_in_openmmlabs_form():
    assigned, preds, gts = image_in_openmmlabs_form()
    loss = torch.rand(50)
    result = OHEMSampler(10, 0.2).sample(assigned, preds, gts, row_loss=loss)
    negative = (assigned.gt_inds == 0).nonzero().squeeze(1)
    hardest = negative[loss[negative].topk(8).indices].sort().values
    assert torch.equal(result.neg_inds, hardest + 3)
    assert result.num_pos == 2


def test_errors():
    parts = scene(0)
    with pytest.raises(ConfigError, match='needs row_loss='):
        HardNegativeSampler()(parts[0], parts[1], parts[2])
    with pytest.raises(ShapeError, match='row_loss'):
        OHEMSampler(8, 0.5)(*parts[:3], row_loss=torch.zeros(3, 7))
    with pytest.raises(ShapeError, match='image_ids'):
        run(RandomSampler(8, 0.5), parts, image_ids=torch.arange(2))
    with pytest.raises(ConfigError, match='pos_fraction'):
        RandomSampler(8, 1.5)
    with pytest.raises(ConfigError, match='floor_thr'):
        IoUBalancedNegSampler(8, 0.5, floor_thr=-0.5)
    with pytest.raises(ConfigError, match='min_neg'):
        HardNegativeSampler(min_neg=-1)


def test_configs_of_openmmlab_build():
    sampler = TASK_UTILS.build(
        dict(
            type='RandomSampler',
            num=256,
            pos_fraction=0.5,
            neg_pos_ub=-1,
            add_gt_as_proposals=False,
        )
    )
    assert (sampler.num, sampler.add_gt_as_proposals) == (256, False)
    assert TASK_UTILS.build(dict(type='PseudoSampler')).needs == frozenset()
    assert TASK_UTILS.build(dict(type='HardNegativeSampler')).needs == {'row_loss'}
