"""Resizing, flipping, padding, cropping and mapping: boxes stay on their pixels."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_losses.errors import ConfigError
from registry_losses.evaluation.samples import to_original
from registry_losses.transforms import (
    Expand,
    LetterResize,
    MinIoURandomCrop,
    Pad,
    RandomAffine,
    RandomCenterCropPad,
    RandomChoiceResize,
    RandomFlip,
    RandomResize,
    Resize,
)
from registry_losses.transforms.crop import crop_window

from .conftest import assert_boxes_match_pixels, found_box, painted

BOXES = [[8, 6, 30, 26], [40, 30, 72, 54]]

seeds = st.integers(0, 10**6)


def test_resize_by_hand():
    results = Resize((120, 180), keep_ratio=True).transform(painted(BOXES))
    assert results['img'].shape == (120, 160, 3) == (*results['img_shape'], 3)
    assert results['scale_factor'] == (2.0, 2.0)
    assert results['gt_bboxes'].tolist() == [[16, 12, 60, 52], [80, 60, 144, 108]]
    assert results['gt_bboxes'].dtype == np.float32
    results = Resize((40, 120)).transform(painted(BOXES))
    assert results['scale_factor'] == (0.5, 2.0)
    assert results['gt_bboxes'].tolist() == [[4, 12, 15, 52], [20, 60, 36, 108]]


@settings(max_examples=30, deadline=None)
@given(w=st.integers(30, 200), h=st.integers(30, 200), keep=st.booleans())
def test_resized_boxes_lie_on_their_pixels(w, h, keep):
    results = Resize((w, h), keep_ratio=keep).transform(painted(BOXES))
    assert assert_boxes_match_pixels(results, atol=1.6) >= 1
    back = to_original(results['gt_bboxes'].astype(np.float64), results)
    assert np.abs(back - BOXES).max() < 0.01


def test_resize_of_keypoints_and_of_nothing():
    sample = painted(BOXES)
    sample['gt_keypoints'] = np.array([[[1, 2.5]], [[80, 60]]], np.float32)
    sample['gt_keypoints_visible'] = np.full((2, 1), 2.0, np.float32)
    results = Resize((160, 120)).transform(sample)
    assert results['gt_keypoints'].tolist() == [[[2, 5]], [[160, 120]]]
    assert results['gt_keypoints_visible'].tolist() == [[2], [2]]
    results = Resize((20, 20)).transform(painted([]))
    assert results['gt_bboxes'].shape == (0, 4)


def test_random_resizes_draw_from_their_ranges():
    sizes = {
        RandomResize([(40, 20), (80, 60)]).transform(painted(BOXES, seed=s))['img'].shape[:2]
        for s in range(200)
    }
    assert min(w for _, w in sizes) == 40 and max(w for _, w in sizes) == 80
    assert min(h for h, _ in sizes) == 20 and max(h for h, _ in sizes) == 60
    sizes = {
        RandomResize((80, 60), (0.5, 1.5)).transform(painted(BOXES, seed=s))['img'].shape[:2]
        for s in range(100)
    }
    assert all(0.5 <= w / 80 <= 1.5 and abs(h / w - 0.75) < 0.03 for h, w in sizes)
    assert len(sizes) > 30
    sizes = {
        RandomChoiceResize([(32, 32), (64, 48)]).transform(painted(BOXES, seed=s))['img'].shape[:2]
        for s in range(20)
    }
    assert sizes == {(32, 32), (48, 64)}
    with pytest.raises(ConfigError, match='expected two scales'):
        RandomResize((80, 60))


@pytest.mark.parametrize(
    ('direction', 'expected'),
    [
        ('horizontal', [[50, 6, 72, 26], [8, 30, 40, 54]]),
        ('vertical', [[8, 34, 30, 54], [40, 6, 72, 30]]),
        ('diagonal', [[50, 34, 72, 54], [8, 6, 40, 30]]),
    ],
)
def test_flip_by_hand(direction, expected):
    results = RandomFlip(1.0, direction).transform(painted(BOXES))
    assert results['gt_bboxes'].tolist() == expected
    assert (results['flip'], results['flip_direction']) == (True, direction)
    assert assert_boxes_match_pixels(results, atol=0) == 2
    assert to_original(results['gt_bboxes'].astype(float), results).tolist() == BOXES
    twice = RandomFlip(1.0, direction).transform(results)
    assert np.array_equal(twice['img'], painted(BOXES)['img'])
    assert twice['gt_bboxes'].tolist() == BOXES


def test_flip_swaps_left_and_right_keypoints():
    sample = painted(BOXES[:1])
    sample['gt_keypoints'] = np.array([[[10, 20], [30, 20], [5, 5]]], np.float32)
    sample['gt_keypoints_visible'] = np.array([[2, 1, 2]], np.float32)
    results = RandomFlip(1.0, flip_indices=[1, 0, 2]).transform(sample)
    assert results['gt_keypoints'].tolist() == [[[50, 20], [70, 20], [75, 5]]]
    assert results['gt_keypoints_visible'].tolist() == [[1, 2, 2]]
    for wrong in (None, [1, 0], [0, 0, 2]):
        with pytest.raises(ConfigError, match='left and right'):
            RandomFlip(1.0, flip_indices=wrong).transform(sample)
    turned = RandomFlip(1.0, 'diagonal', flip_indices=[1, 0, 2]).transform(
        {
            **painted(BOXES[:1]),
            'gt_keypoints': sample['gt_keypoints'][:, :2],
            'gt_keypoints_visible': sample['gt_keypoints_visible'][:, :2],
        }
    )
    assert turned['gt_keypoints_visible'].tolist() == [[1, 2]]  # a turn swaps no sides


def test_flip_probabilities():
    flip = RandomFlip([0.2, 0.3], ['horizontal', 'vertical'])
    drawn = [flip.transform(painted([], seed=s))['flip_direction'] for s in range(600)]
    shares = [drawn.count(d) / 600 for d in ('horizontal', 'vertical', None)]
    assert np.allclose(shares, [0.2, 0.3, 0.5], atol=0.06)
    assert not RandomFlip(0.0).transform(painted(BOXES))['flip']
    for wrong in (dict(prob=1.5), dict(prob=[0.7, 0.7], direction=['horizontal', 'vertical'])):
        with pytest.raises(ValueError, match='RandomFlip'):
            RandomFlip(**wrong)
    with pytest.raises(ConfigError, match='direction'):
        RandomFlip(0.5, 'sideways')


def test_pad_keeps_the_content_size():
    results = Pad(size_divisor=32, pad_val=7).transform(painted(BOXES))
    assert results['img'].shape == (64, 96, 3) and results['img_shape'] == (60, 80)
    assert results['pad_shape'][:2] == (64, 96)
    assert (results['img'][60:] == 7).all() and (results['img'][:, 80:] == 7).all()
    assert results['gt_bboxes'].tolist() == BOXES
    assert Pad(pad_to_square=True).transform(painted(BOXES))['img'].shape == (80, 80, 3)


@settings(max_examples=30, deadline=None)
@given(w=st.integers(30, 200), h=st.integers(30, 200), up=st.booleans())
def test_letterbox_centres_and_can_be_undone(w, h, up):
    results = LetterResize((w, h), allow_scale_up=up).transform(painted(BOXES))
    assert results['img'].shape[:2] == results['img_shape'] == (h, w)
    top, bottom, left, right = results['pad_param']
    assert abs(top - bottom) <= 1 and abs(left - right) <= 1
    if not up:
        assert max(results['scale_factor']) <= 1
    assert (results['img'][:top] == 114).all() and (results['img'][:, :left] == 114).all()
    assert np.abs(to_original(results['gt_bboxes'].astype(float), results) - BOXES).max() < 0.01
    inside = dict(results, img=results['img'].copy())
    inside['img'][results['img'] == 114] = 10  # the border is lighter than the level
    assert_boxes_match_pixels(inside, atol=1.6)


@settings(max_examples=60, deadline=None)
@given(x=st.integers(-40, 100), y=st.integers(-40, 80), w=st.integers(1, 120), h=st.integers(1, 90))
def test_crop_window_equals_a_padded_slice(x, y, w, h):
    results = painted(BOXES)
    wide = cv2.copyMakeBorder(
        results['img'], 200, 200, 200, 200, cv2.BORDER_CONSTANT, value=(9,) * 3
    )
    crop_window(results, x, y, w, h, 9)
    assert np.array_equal(results['img'], wide[200 + y : 200 + y + h, 200 + x : 200 + x + w])
    assert np.array_equal(results['gt_bboxes'], np.array(BOXES, np.float32) - [x, y, x, y])


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_min_iou_crop_keeps_its_promise(seed):
    boxes = [[8, 6, 30, 26], [34, 30, 72, 54]]
    results = MinIoURandomCrop((0.1, 0.3)).transform(painted(boxes, seed=seed))
    h, w = results['img'].shape[:2]
    assert results['img_shape'] == (h, w) and h >= 18 - 1 and w >= 24 - 1
    assert len(results['gt_bboxes']) >= 1
    assert len(results['gt_bboxes']) == len(results['gt_bboxes_labels'])
    assert assert_boxes_match_pixels(results, atol=0, min_side=1) == len(results['gt_bboxes'])


def test_min_iou_crop_overlap_by_hand():
    """With the minimum 0.9 alone a window has to be nearly the box."""
    crop = MinIoURandomCrop((0.9,))
    crop.modes = (0.9, None)
    sizes = []
    for seed in range(40):
        results = crop.transform(painted([[0, 0, 78, 58]], seed=seed))
        h, w = results['img'].shape[:2]
        sizes.append(h * w)
        assert h * w >= 0.89 * 78 * 58
    assert min(sizes) < 4800  # some were cropped
    empty = [MinIoURandomCrop().transform(painted([], seed=s))['img'].shape for s in range(30)]
    assert len(set(empty)) > 10
    with pytest.raises(ConfigError, match='min_crop_size'):
        MinIoURandomCrop(min_crop_size=0)


def test_min_iou_crop_leaves_ignore_regions_out_of_the_bargain():
    sample = painted([[0, 0, 80, 60], [60, 40, 70, 50]])
    sample['gt_ignore_flags'][1] = True  # hardly any window has an IoU of 0.5 with it
    crop = MinIoURandomCrop((0.5,))
    crop.modes = (0.5,)
    results = crop.transform(sample)
    assert 0 in results['gt_bboxes_labels'] and results['img'].shape != (60, 80, 3)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_expand_moves_boxes_with_pixels(seed):
    results = Expand((1, 2, 3), (1, 3), 1.0).transform(painted(BOXES, seed=seed))
    assert 60 <= results['img'].shape[0] <= 180
    assert assert_boxes_match_pixels(results, atol=0) == 2
    outside = np.ones(results['img'].shape[:2], bool)
    x, y = (results['gt_bboxes'][0, :2] - BOXES[0][:2]).astype(int)
    outside[y : y + 60, x : x + 80] = False
    assert (results['img'][outside] == [1, 2, 3]).all()


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_center_crop_pad_in_training(seed):
    part = RandomCenterCropPad((48, 64), (0.6, 1.0, 1.4), border=16, mean=(5, 5, 5))
    results = part.transform(painted(BOXES, seed=seed))
    assert results['img'].shape[:2] in {(28, 38), (48, 64), (67, 89)}
    assert len(results['gt_bboxes']) >= 1
    checked = assert_boxes_match_pixels(results, atol=0, min_side=1)
    assert checked == len(results['gt_bboxes'])


def test_center_crop_pad_in_tests_can_be_undone():
    part = RandomCenterCropPad(
        None, None, None, test_mode=True, test_pad_mode=('logical_or', 31), test_pad_add_pix=1
    )
    results = part.transform(painted(BOXES, height=70))
    assert results['img'].shape == (96, 96, 3)  # 70 | 31 = 95, 80 | 31 = 95, and 1
    assert results['pad_param'] == (13, 13, 8, 8)
    assert to_original(results['gt_bboxes'].astype(float), results).tolist() == BOXES
    divided = RandomCenterCropPad(
        None, None, None, test_mode=True, test_pad_mode=('size_divisor', 64)
    ).transform(painted(BOXES))
    assert divided['img'].shape == (64, 128, 3)
    with pytest.raises(ConfigError, match='training needs'):
        RandomCenterCropPad()
    with pytest.raises(ConfigError, match='test_pad_mode'):
        RandomCenterCropPad(test_mode=True, test_pad_mode=('other', 1))


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_affine_without_rotation_keeps_boxes_on_pixels(seed):
    part = RandomAffine(0, 0.2, (0.6, 1.6), 0, border_val=(10, 10, 10))
    results = part.transform(painted(BOXES, seed=seed))
    assert results['img'].shape == (60, 80, 3)
    assert_boxes_match_pixels(results, atol=1.6, min_side=6)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_affine_with_rotation_holds_the_pixels(seed):
    part = RandomAffine(20, 0.1, (0.8, 1.2), 5, border=(10, 20), border_val=(10, 10, 10))
    results = part.transform(painted(BOXES, seed=seed))
    assert results['img_shape'] == (100, 100) == results['img'].shape[:2]
    for box, label in zip(results['gt_bboxes'], results['gt_bboxes_labels']):
        found = found_box(results['img'], label)
        # The box touches the corners of the turned rectangle, all within a pixel or two.
        assert np.abs(found - box).max() < 2.5, (found, box)


def test_affine_drops_what_is_hardly_left():
    part = RandomAffine(0, 0, (1, 1), 0, min_bbox_size=3, min_area_ratio=0.5, max_aspect_ratio=4)
    boxes = [[10, 10, 12, 30], [10, 10, 60, 20], [-30, 10, 10, 20], [10, 10, 20, 20]]
    sample = {**painted([]), **dict(gt_bboxes=np.array(boxes, np.float32))}
    sample['gt_bboxes_labels'] = np.arange(4)
    sample['gt_ignore_flags'] = np.zeros(4, bool)
    assert part.transform(sample)['gt_bboxes_labels'].tolist() == [3]
    with pytest.raises(ConfigError, match='scaling_ratio_range'):
        RandomAffine(scaling_ratio_range=(2, 1))


def test_identity_affine_changes_nothing():
    results = RandomAffine(0, 0, (1, 1), 0).transform(painted(BOXES))
    assert np.array_equal(results['img'], painted(BOXES)['img'])
    assert results['gt_bboxes'].tolist() == BOXES
