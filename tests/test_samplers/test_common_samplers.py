"""All samplers: what they choose, where there is nothing, errors, OpenMMLab's form."""

from types import SimpleNamespace

import pytest
import torch
from sampler_scenes import SAMPLERS, budget, run, scene, sets_of

from registry_losses.errors import ConfigError, ShapeError
from registry_losses.registry import TASK_UTILS
from registry_losses.samplers import (
    HardNegativeSampler,
    IoUBalancedNegSampler,
    OHEMSampler,
    PseudoSampler,
    RandomSampler,
)
from registry_losses.structures import Assignment, GroundTruth, Priors


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
