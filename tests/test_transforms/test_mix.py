"""Mosaic and mixup: every instance of every image, on its pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_losses.errors import ConfigError
from registry_losses.transforms import MixUp, Mosaic, YOLOv5MixUp

from .conftest import Partners, assert_boxes_match_pixels, found_box, painted

SIZE = dict(height=60, width=80)


def load(info):
    """Partner i has one rectangle, whose label tells which partner it is."""
    box = [10 + 4 * info['index'], 8, 40, 40]
    return painted([box], labels=[info['index'] + 1], **SIZE)


def first(seed=0, boxes=([6, 6, 50, 44],)):
    sample = painted(list(boxes), labels=[0] * len(boxes), seed=seed, **SIZE)
    sample['dataset'] = Partners(load, length=4)
    return sample


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_mosaic_keeps_boxes_on_their_pixels(seed):
    part = Mosaic((80, 60), pre_transform=[load], pad_val=5)
    results = part.transform(first(seed))
    assert results['img'].shape == (120, 160, 3) and results['img_shape'] == (120, 160)
    labels = results['gt_bboxes_labels'].tolist()
    assert len(labels) == len(results['gt_bboxes']) == len(results['gt_ignore_flags']) <= 4
    # The same partner may be drawn twice: then its colour is in two places.
    once = [labels.count(label) == 1 for label in labels]
    single = {k: results[k][once] for k in ('gt_bboxes', 'gt_bboxes_labels')}
    assert_boxes_match_pixels({**single, 'img': results['img']}, atol=0, min_side=1)


def test_mosaic_layout_with_a_fixed_centre():
    part = Mosaic((80, 60), center_ratio_range=(1.0, 1.0), pre_transform=[load])
    results = part.transform(first(3))
    boxes = results['gt_bboxes']
    assert boxes[0].tolist() == [6, 6, 50, 44]  # the given image: above left, in full
    assert len(boxes) == 4
    own = load(dict(index=int(results['gt_bboxes_labels'][1]) - 1))['gt_bboxes'][0]
    assert (boxes[1] - own).tolist() == [80, 0, 80, 0]
    own = load(dict(index=int(results['gt_bboxes_labels'][2]) - 1))['gt_bboxes'][0]
    assert (boxes[2] - own).tolist() == [0, 60, 0, 60]


def test_mosaic_resizes_the_parts_and_drops_what_is_cut_away():
    part = Mosaic((40, 40), center_ratio_range=(1.0, 1.0), pre_transform=[load], pad_val=3)
    results = part.transform(first(1))
    assert results['img'].shape == (80, 80, 3)
    # 80 x 60 fits 40 x 40 by a half; it ends at the centre (40, 40), so begins at (0, 10)
    assert results['gt_bboxes'][0].tolist() == [3, 13, 25, 32]
    assert (results['img'][:10, :40] == 3).all()
    corner = Mosaic((80, 60), center_ratio_range=(0.5, 0.5), pre_transform=[load])
    gone = corner.transform(first(2, boxes=([0, 0, 30, 20], [50, 40, 70, 58])))
    # The given image's lower right part is left: its first box lies outside the canvas.
    assert gone['gt_bboxes_labels'].tolist().count(0) == 1


def test_partners_follow_the_generator():
    part = Mosaic((80, 60), pre_transform=[load])
    a, b, c = (part.transform(first(s)) for s in (5, 5, 6))
    assert np.array_equal(a['img'], b['img']) and np.array_equal(a['gt_bboxes'], b['gt_bboxes'])
    assert a['img'].shape == c['img'].shape and not np.array_equal(a['img'], c['img'])
    assert np.array_equal(
        Mosaic((80, 60), pre_transform=[load], prob=0.0).transform(first())['img'], first()['img']
    )
    with pytest.raises(ConfigError, match="no 'dataset'"):
        part.transform(painted([]))
    with pytest.raises(ConfigError, match='returns None'):
        Mosaic(pre_transform=[lambda info: None]).transform(first())


def test_yolov5_mixup_by_hand():
    part = YOLOv5MixUp(pre_transform=[load])
    results = part.transform(first(1))
    assert len(results['gt_bboxes']) == 2
    other = load(dict(index=int(results['gt_bboxes_labels'][1]) - 1))
    assert results['img'][7, 60].tolist() == [10, 10, 10]  # both are dark there
    # At (8, 7) the first image alone is bright.
    ratio = (results['img'][7, 8, 0] - 10) / 190
    assert 0.2 < ratio < 0.8
    expected = ratio * first()['img'] + (1 - ratio) * other['img']
    assert np.abs(results['img'] - expected).max() <= 2
    with pytest.raises(ConfigError, match='expected a partner of shape'):
        YOLOv5MixUp(pre_transform=[lambda i: painted([])]).transform(
            {**first(), 'img': np.zeros((9, 9, 3), np.uint8)}
        )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_mixup_boxes_hold_the_partner(seed):
    sample = first(seed, boxes=())
    results = MixUp((80, 60), pre_transform=[load], pad_val=10).transform(sample)
    assert results['img'].shape == (60, 80, 3) and results['img'].dtype == np.uint8
    for box, label in zip(results['gt_bboxes'], results['gt_bboxes_labels']):
        if (box[2:] - box[:2]).min() > 6:
            # The mean with the dark first image: 105 inside, 10 outside.
            assert np.abs(found_box(results['img'], label, level=57.5) - box).max() < 2.1


def test_mixup_without_jitter_is_the_mean():
    part = MixUp((80, 60), ratio_range=(1, 1), flip_ratio=0, pre_transform=[load])
    results = part.transform(first(2))
    other = load(dict(index=int(results['gt_bboxes_labels'][1]) - 1))
    mean = (first()['img'].astype(int) + other['img']) / 2
    assert np.abs(results['img'] - mean).max() <= 0.5
    assert results['gt_bboxes'].tolist() == [[6, 6, 50, 44], other['gt_bboxes'][0].tolist()]
