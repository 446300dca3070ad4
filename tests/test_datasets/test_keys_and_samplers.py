"""Order and keys of the samples: the same whatever the ranks, workers and restarts."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import BaseDataset, ConcatDataset
from torch.utils.data import BatchSampler, DataLoader

from registry_losses.datasets import AspectRatioBatchSampler, KeyedSampler, SampleKey
from registry_losses.datasets.keys import SAMPLE_STREAM, keyed_rng
from registry_losses.errors import ConfigError


def make(size=10, rank=0, world=1, **kwargs):
    sampler = KeyedSampler(range(size), seed=kwargs.pop('seed', 5), **kwargs)
    sampler.rank, sampler.world_size = rank, world
    return sampler


def take(sampler, n):
    return [(int(k), k.epoch) for k in itertools.islice(sampler, n)]


def test_key_is_an_int_that_survives_pickle_subtraction_and_modulo():
    key = SampleKey(17, seed=3, epoch=2)
    assert key == 17 and [0] * 17 + ['x'][0:] and isinstance(key, int)
    for other in (pickle.loads(pickle.dumps(key)), key - 10, key % 4):
        assert (other.seed, other.epoch, other.origin) == (3, 2, 17)
        assert other.rng().random() == key.rng().random()
    assert key - 10 == 7 and key % 4 == 1


def test_each_part_of_the_key_changes_the_stream():
    draws = {
        keyed_rng(*words, stream=stream).random()
        for words in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0))
        for stream in (1, 2)
    }
    assert len(draws) == 10
    # SeedSequence alone would make these two equal, since it pads with zeros.
    assert keyed_rng(4, stream=2).random() != keyed_rng(4, 0, stream=2).random()


def test_key_reaches_the_parts_of_a_concatenation():
    both = ConcatDataset([BaseDataset(lazy_init=True) for _ in range(2)], lazy_init=True)
    both.cumulative_sizes, both._fully_initialized = [4, 7], True
    inner = both._get_ori_dataset_idx(SampleKey(5, epoch=9))
    assert inner[0] == 1 and inner[1] == 1 and inner[1].epoch == 9 and inner[1].origin == 5


def test_infinite_order_is_permutations_end_to_end():
    drawn = take(make(size=7), 21)
    for epoch in range(3):
        part = drawn[7 * epoch : 7 * epoch + 7]
        assert sorted(i for i, _ in part) == list(range(7))
        assert {e for _, e in part} == {epoch}
    assert [i for i, _ in drawn[:7]] != [i for i, _ in drawn[7:14]]
    assert drawn == take(make(size=7), 21)
    assert drawn != take(make(size=7, seed=6), 21)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 23),
    world=st.integers(1, 4),
    batch=st.integers(1, 5),
    steps=st.integers(1, 12),
    start=st.integers(0, 30),
)
def test_ranks_together_see_the_batches_of_one_process(size, world, batch, steps, start):
    one = make(size=size)
    one.set_start(start, world * batch)
    whole = take(one, steps * world * batch)
    ranks = []
    for rank in range(world):
        sampler = make(size=size, rank=rank, world=world)
        sampler.set_start(start, batch)
        ranks.append(take(sampler, steps * batch))
    for step in range(steps):
        parts = (r[step * batch : (step + 1) * batch] for r in ranks)
        together = list(itertools.chain(*parts))
        expected = whole[step * world * batch : (step + 1) * world * batch]
        assert sorted(together) == sorted(expected)


@given(size=st.integers(1, 20), skip=st.integers(0, 15), batch=st.integers(1, 4))
def test_start_equals_skipping(size, skip, batch):
    late = make(size=size)
    late.set_start(skip, batch)
    assert take(late, 10) == take(make(size=size), skip * batch + 10)[skip * batch :]
    assert take(late, 3) == take(late, 3)  # an infinite sampler starts there every time


def test_finite_pass_can_start_in_the_middle_once():
    sampler = make(size=10, infinite=False)
    sampler.set_epoch(4)
    whole = [(int(k), k.epoch) for k in sampler]
    assert sorted(i for i, _ in whole) == list(range(10)) and {e for _, e in whole} == {4}
    sampler.set_epoch(4)
    sampler.set_start(2, 3)
    assert [(int(k), k.epoch) for k in sampler] == whole[6:]
    assert [(int(k), k.epoch) for k in sampler] == whole
    sampler.set_start(2, 3)
    sampler.set_epoch(5)  # another epoch: the start belonged to the old one
    assert len(list(sampler)) == 10


def test_finite_pass_fills_up_for_equal_ranks():
    ranks = [make(size=5, rank=r, world=3, infinite=False) for r in range(3)]
    drawn = [[int(k) for k in r] for r in ranks]
    assert [len(d) for d in drawn] == [2, 2, 2] == [len(r) for r in ranks]
    assert set(itertools.chain(*drawn)) == set(range(5))
    uneven = [make(size=5, rank=r, world=3, infinite=False, round_up=False) for r in range(3)]
    assert sorted(int(k) for r in uneven for k in r) == list(range(5))
    assert [len(r) for r in uneven] == [2, 2, 1] == [len(list(r)) for r in uneven]


def test_unshuffled_order_and_errors():
    assert [i for i, _ in take(make(size=4, shuffle=False), 6)] == [0, 1, 2, 3, 0, 1]
    with pytest.raises(ConfigError, match='empty'):
        KeyedSampler([], seed=0)
    with pytest.raises(ValueError, match='batch_size >= 1'):
        make().set_start(0, 0)


class Echo:
    """Gives back what its transforms would draw."""

    def __len__(self):
        return 12

    def __getitem__(self, key):
        return int(key), key.epoch, key.rng(stream=SAMPLE_STREAM).random()


@pytest.mark.parametrize('workers', [0, 2])
def test_draws_do_not_depend_on_workers(workers):
    sampler = KeyedSampler(Echo(), seed=1)
    loader = DataLoader(
        Echo(),
        sampler=sampler,
        batch_size=4,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=list,
    )
    batches = list(itertools.islice(iter(loader), 7))
    expected = [
        (int(k), k.epoch, k.rng().random())
        for k in itertools.islice(KeyedSampler(Echo(), seed=1), 28)
    ]
    assert list(itertools.chain(*batches)) == expected
    assert {e for _, e, _ in expected} == {0, 1, 2}


class Sizes:
    def __init__(self, wide):
        self.wide = wide

    def __len__(self):
        return len(self.wide)

    def get_data_info(self, index):
        return dict(width=2 if self.wide[index] else 1, height=1 if self.wide[index] else 2)


@pytest.mark.parametrize('infinite', [True, False])
def test_aspect_batches_are_of_one_shape_and_resume(infinite):
    wide = np.random.default_rng(0).random(23) < 0.3
    sampler = KeyedSampler(Sizes(wide), seed=2, infinite=infinite)
    batches = AspectRatioBatchSampler(sampler, 4)
    whole = [[int(i) for i in b] for b in itertools.islice(batches, 12)]
    full = whole if infinite else whole[:-2]
    assert all(len({bool(wide[i]) for i in b}) == 1 and len(b) == 4 for b in full)
    if not infinite:
        assert sorted(itertools.chain(*whole)) == list(range(23)) and len(whole) == 6 == len(
            batches
        )
    batches.set_start(3, 4)
    again = [[int(i) for i in b] for b in itertools.islice(batches, len(whole) - 3)]
    assert again == whole[3:]
    with pytest.raises(ValueError, match='expected 4'):
        batches.set_start(1, 8)


def test_drop_last_leaves_out_the_short_batch():
    sampler = KeyedSampler(Sizes([True] * 6), seed=0, infinite=False)
    assert len(list(AspectRatioBatchSampler(sampler, 4, drop_last=True))) == 1
    assert isinstance(AspectRatioBatchSampler(sampler, 4), BatchSampler)
