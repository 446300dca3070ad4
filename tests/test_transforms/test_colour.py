"""Colour: by hand, and the geometry left alone."""

import colorsys

import numpy as np
import pytest

from registry_losses.transforms import (
    HSVJitter,
    PhotoMetricDistortion,
    RandomBrightnessContrast,
    RandomChannelPermute,
    RandomInvert,
)


def noise(seed=0, dtype=np.uint8):
    image = np.random.default_rng(99).integers(0, 256, (12, 10, 3)).astype(dtype)
    boxes = np.array([[1, 2, 3, 4]], np.float32)
    return dict(img=image, gt_bboxes=boxes, rng=np.random.default_rng(seed))


def test_invert():
    results = RandomInvert(1.0).transform(noise())
    assert np.array_equal(results['img'], 255 - noise()['img'])
    assert results['gt_bboxes'].tolist() == [[1, 2, 3, 4]]
    flips = [RandomInvert(0.3).transform(noise(s))['img'][0, 0, 0] for s in range(400)]
    assert np.mean(np.array(flips) != noise()['img'][0, 0, 0]) == pytest.approx(0.3, abs=0.07)


def test_permutations_are_all_drawn():
    source = noise()['img']
    seen = set()
    for seed in range(60):
        image = RandomChannelPermute().transform(noise(seed))['img']
        match = [
            next(c for c in range(3) if np.array_equal(source[..., c], image[..., k]))
            for k in range(3)
        ]
        seen.add(tuple(match))
    assert len(seen) == 6


def test_brightness_and_contrast():
    part = RandomBrightnessContrast(0, 0, 1.0)
    assert np.array_equal(part.transform(noise())['img'], noise()['img'])
    part = RandomBrightnessContrast(30, 0.3, 1.0)
    for seed in range(20):
        low = part.transform(noise(seed))['img']
        high = part.transform(noise(seed, np.float32))['img']
        # the table of the uint8 image agrees with the arithmetic of the float one
        assert low.dtype == np.uint8 and high.dtype == np.float32
        assert np.abs(low - high).max() <= 0.51
    moved = RandomBrightnessContrast(50, 0, 1.0).transform(noise(1, np.float32))['img']
    inside = (moved > 0) & (moved < 255)
    shift = (moved - noise(1, np.float32)['img'])[inside]
    assert np.ptp(shift) < 1e-3 and 0 < abs(shift[0]) <= 50


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_distortion_keeps_type_and_range(dtype):
    images = [PhotoMetricDistortion().transform(noise(s, dtype))['img'] for s in range(40)]
    assert all(i.dtype == dtype and i.shape == (12, 10, 3) for i in images)
    assert min(i.min() for i in images) >= 0 and max(i.max() for i in images) <= 255
    assert len({i.tobytes() for i in images}) > 30
    same = PhotoMetricDistortion().transform(noise(7, dtype))['img']
    assert np.array_equal(same, images[7])


def test_distortion_alone_by_hand():
    """Each range shrunk to a point, so that only the decisions are random."""
    part = PhotoMetricDistortion(0, (1, 1), (1, 1), 0)
    permuted = 0
    for seed in range(40):
        image = part.transform(noise(seed))['img']
        # hue and saturation go through HSV and back: at most rounding
        close = [np.abs(np.sort(image, 2).astype(int) - np.sort(noise()['img'], 2)).max() <= 1]
        assert all(close)
        permuted += not np.abs(image.astype(int) - noise()['img']).max() <= 1
    assert 8 < permuted < 28  # half of the time, a sixth of which keeps the order


def test_hue_turns_as_colorsys_says():
    from registry_losses.transforms.colour import _in_hsv

    source = noise(dtype=np.float32)['img']
    turned = _in_hsv(source, 0.5, 40.0)
    for y, x in ((0, 0), (3, 7), (11, 9)):
        b, g, r = source[y, x] / 255
        h, s, v = colorsys.rgb_to_hsv(r, g, b)
        expected = np.array(colorsys.hsv_to_rgb((h + 40 / 360) % 1, s * 0.5, v))[::-1] * 255
        assert np.abs(turned[y, x] - expected).max() < 0.1


def test_hsv_jitter():
    unchanged = HSVJitter(0, 0, 0).transform(noise())['img']
    assert np.abs(unchanged.astype(int) - noise()['img']).max() < 8
    grey = np.full((4, 4, 3), 100, np.uint8)
    values = []
    for seed in range(100):
        sample = dict(img=grey, rng=np.random.default_rng(seed))
        values.append(int(HSVJitter(0, 0, 0.4).transform(sample)['img'][0, 0, 0]))
    assert 60 <= min(values) < 66 and 134 < max(values) <= 140
