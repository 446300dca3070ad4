"""Keyed randomness: seed, step and image alone decide."""

from dataclasses import replace

import pytest
import torch
from sampler_scenes import SAMPLERS, scene

from registry_losses.samplers.keyed import hashes_at, image_keys, mix_, mix_int, prior_hashes


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
