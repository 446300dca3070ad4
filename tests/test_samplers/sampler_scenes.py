"""Assignments to sample from, and the samplers."""

import torch

from registry_losses.samplers import (
    HardNegativeSampler,
    IoUBalancedNegSampler,
    OHEMSampler,
    PseudoSampler,
    RandomSampler,
)
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
