"""Keyed randomness: seed, step and image alone decide."""

from dataclasses import replace

import pytest
import torch

from registry_losses.samplers import (
    HardNegativeSampler,
    IoUBalancedNegSampler,
    OHEMSampler,
    PseudoSampler,
    RandomSampler,
)
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
