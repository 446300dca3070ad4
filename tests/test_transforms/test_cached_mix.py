"""Mosaic and mixup from a cache: what is kept, what is taken, that copies are taken."""

import numpy as np
import pytest

from registry_losses.errors import ConfigError
from registry_losses.transforms import CachedMixUp, CachedMosaic

from .conftest import assert_boxes_match_pixels, painted

SIZE = dict(height=60, width=80)


def image(number: int) -> dict:
    """Its rectangle's label is its number, of the first five."""
    box = [10 + 3 * (number % 5), 8, 45, 40]
    return dict(painted([box], labels=[number % 5], seed=number, **SIZE), number=number)


def test_a_mosaic_begins_when_four_others_have_passed():
    part = CachedMosaic((80, 60), center_ratio_range=(1.0, 1.0))
    for number in range(4):
        same = image(number)
        passed = part.transform(same)
        assert passed is same and np.array_equal(passed['img'], image(number)['img'])
    mixed = part.transform(image(4))
    labels = mixed['gt_bboxes_labels'].tolist()
    assert mixed['img'].shape == (120, 160, 3) and labels[0] == 4 and set(labels) <= set(range(5))
    once = [labels.count(label) == 1 for label in labels]
    single = {k: mixed[k][once] for k in ('gt_bboxes', 'gt_bboxes_labels')}
    assert_boxes_match_pixels({**single, 'img': mixed['img']}, atol=0, min_side=1)


def test_what_is_kept_does_not_change_when_it_is_mixed():
    part = CachedMosaic((40, 40))  # partners are resized: not the copies that are kept
    for number in range(8):
        part.transform(image(number))
    for kept in part.cache.kept:
        whole = image(kept['number'])
        assert np.array_equal(kept['img'], whole['img'])
        assert np.array_equal(kept['gt_bboxes'], whole['gt_bboxes'])
        assert 'rng' not in kept and 'dataset' not in kept


@pytest.mark.parametrize('random_pop', [False, True])
def test_so_many_are_kept(random_pop):
    part = CachedMixUp((80, 60), prob=0.0, max_cached_images=3, random_pop=random_pop)
    for number in range(20):
        part.transform(image(number))
    kept = [each['number'] for each in part.cache.kept]
    assert len(set(kept)) == 3
    if not random_pop:
        assert kept == [17, 18, 19]


def test_mixup_takes_the_mean_with_one_that_passed():
    part = CachedMixUp((80, 60), ratio_range=(1.0, 1.0), flip_ratio=0.0)
    first = part.transform(image(0))
    assert np.array_equal(first['img'], image(0)['img'])
    mixed = part.transform(image(1))
    other = int(mixed['gt_bboxes_labels'][1])
    mean = (image(1)['img'].astype(float) + image(other)['img']) / 2
    assert mixed['gt_bboxes_labels'][0] == 1 and other in (0, 1)
    assert np.abs(mixed['img'] - mean).max() <= 1


def test_a_cache_too_small_is_refused():
    with pytest.raises(ConfigError, match=r'CachedMosaic.max_cached_images: expected at least 5'):
        CachedMosaic(max_cached_images=4)
    with pytest.raises(ConfigError, match=r'CachedMixUp.max_cached_images: expected at least 2'):
        CachedMixUp(max_cached_images=1)
