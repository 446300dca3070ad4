"""Loading, packing, caching, and the generator that all draw from."""

import pickle

import cv2
import numpy as np
import pytest
import torch

from registry_losses.errors import DataError
from registry_losses.registry import TRANSFORMS
from registry_losses.transforms import (
    CachedLoadImage,
    LoadAnnotations,
    LoadImageFromFile,
    PackDetInputs,
    RandomApply,
    RandomChoice,
    RandomFlip,
    RandomInvert,
    generator,
)

from .conftest import painted

RANDOM = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomInvert'),
    dict(type='RandomChannelPermute'),
    dict(type='RandomBrightnessContrast'),
    dict(type='PhotoMetricDistortion'),
    dict(type='HSVJitter'),
    dict(type='RandomResize', scale=(80, 60), ratio_range=(0.5, 2.0)),
    dict(type='RandomChoiceResize', scales=[(40, 40), (50, 30)]),
    dict(type='Expand', prob=0.7),
    dict(type='MinIoURandomCrop'),
    dict(type='RandomCenterCropPad', crop_size=(40, 40), border=8),
    dict(type='RandomAffine'),
]


def test_every_random_transform_obeys_the_generator_and_nothing_else():
    boxes = [[8, 6, 30, 26], [40, 30, 72, 54]]
    for node in RANDOM:
        outcomes = []
        for seed in (*range(12), *range(12)):
            np.random.seed(len(outcomes))  # the global state must not matter
            results = TRANSFORMS.build(dict(node)).transform(painted(boxes, seed=seed))
            outcomes.append((results['img'].tobytes(), results['gt_bboxes'].tobytes()))
        assert outcomes[:12] == outcomes[12:], node
        assert len(set(outcomes)) > 1, node


def test_without_a_key_the_global_state_decides():
    def draw(seed):
        np.random.seed(seed)
        results = {}
        first = generator(results).random()
        return first, generator(results).random()

    assert draw(1) == draw(1) != draw(2)
    assert draw(1)[0] != draw(1)[1]


def test_random_choice_and_apply():
    sample = lambda s: painted([[0, 0, 9, 9]], seed=s)  # noqa: E731
    choice = RandomChoice([[dict(type='RandomInvert', prob=1.0)], []], prob=[0.25, 0.75])
    inverted = [choice.transform(sample(s))['img'][-1, -1, 0] > 150 for s in range(400)]
    assert np.mean(inverted) == pytest.approx(0.25, abs=0.07)
    apply = RandomApply([RandomInvert(1.0), RandomFlip(1.0)], prob=0.5)
    flipped = [apply.transform(sample(s)).get('flip', False) for s in range(200)]
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.12)
    assert RandomApply(lambda r: None, prob=1.0).transform(sample(0)) is None
    with pytest.raises(ValueError, match='sum 1'):
        RandomChoice([[], []], prob=[0.5, 0.6])


@pytest.fixture
def file(tmp_path):
    path = str(tmp_path / 'x.png')
    cv2.imwrite(path, np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
    return path


def test_cache_hands_out_copies(file):
    part = CachedLoadImage()
    first = part.transform(dict(img_path=file))
    first['img'][:] = 0
    again = part.transform(dict(img_path=file))
    assert np.array_equal(again['img'], np.arange(60).reshape(4, 5, 3))
    assert again['img_shape'] == again['ori_shape'] == (4, 5)
    cv2.imwrite(file, np.zeros((4, 5, 3), np.uint8))
    assert part.transform(dict(img_path=file))['img'].any()  # not read again
    assert not pickle.loads(pickle.dumps(part)).transform(dict(img_path=file))['img'].any()


def test_cache_is_bounded(file):
    part = CachedLoadImage(max_mb=50 / 2**20)  # the image has 60 bytes
    part.transform(dict(img_path=file))
    cv2.imwrite(file, np.zeros((4, 5, 3), np.uint8))
    assert not part.transform(dict(img_path=file))['img'].any()
    floats = CachedLoadImage(to_float32=True)
    assert floats.transform(dict(img_path=file))['img'].dtype == np.float32


def test_unreadable_images(file, tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'x')
    bad = dict(img_path=str(tmp_path / 'bad.png'), img_id=4)
    with pytest.raises(DataError, match=r'image 4, .*bad.png: cannot be decoded'):
        LoadImageFromFile().transform(bad)
    missing = dict(img_path=str(tmp_path / 'no.png'), img_id=5)
    with pytest.raises(DataError, match=r'image 5, .*no.png: image file not found'):
        CachedLoadImage().transform(missing)
    assert LoadImageFromFile(ignore_empty=True).transform(missing) is None


def test_labels_are_checked_against_the_classes():
    class Source:
        ann_file = 'a.json'
        _metainfo = dict(classes=('x', 'y'))

    def sample(label):
        instances = [dict(bbox=[0, 0, 1, 1], bbox_label=label)]
        return dict(instances=instances, dataset=Source(), img_path='p', img_id=3)

    assert LoadAnnotations().transform(sample(1))['gt_bboxes_labels'].tolist() == [1]
    for wrong in (2, -1):
        with pytest.raises(DataError, match=r'a.json, image 3, p: expected labels in \[0, 2\)'):
            LoadAnnotations().transform(sample(wrong))
    empty = LoadAnnotations().transform(dict(instances=[]))
    assert empty['gt_bboxes'].shape == (0, 4) and empty['gt_ignore_flags'].dtype == bool


def test_keypoints_and_those_without_any():
    instances = [
        dict(bbox=[0, 0, 1, 1], bbox_label=0, keypoints=[[1, 2], [3, 4]], keypoints_visible=[2, 0]),
        dict(bbox=[0, 0, 1, 1], bbox_label=0),
    ]
    part = LoadAnnotations(with_keypoints=True, num_keypoints=2)
    results = part.transform(dict(instances=instances))
    assert results['gt_keypoints'].tolist() == [[[1, 2], [3, 4]], [[0, 0], [0, 0]]]
    assert results['gt_keypoints_visible'].tolist() == [[2, 0], [0, 0]]
    with pytest.raises(DataError, match='expected 17 keypoints, got 2'):
        LoadAnnotations(with_keypoints=True).transform(dict(instances=instances, img_path='p'))


def test_pack():
    sample = painted([[1, 2, 3, 4], [5, 6, 7, 8]])
    sample['gt_ignore_flags'][1] = True
    sample.update(
        img_id=8,
        gt_keypoints=np.ones((2, 3, 2), np.float32),
        gt_keypoints_visible=np.ones((2, 3), np.float32),
    )
    sample['img'] = sample['img'][:, ::-1]  # a view with negative strides
    packed = PackDetInputs().transform(sample)
    assert packed['inputs'].dtype == torch.uint8 and packed['inputs'].is_contiguous()
    assert torch.equal(packed['inputs'], torch.from_numpy(sample['img'].copy()).permute(2, 0, 1))
    result = packed['data_samples']
    assert result.gt_instances.bboxes.tolist() == [[1, 2, 3, 4]]
    assert result.gt_instances.keypoints.shape == (1, 3, 2)
    assert result.ignored_instances.bboxes.tolist() == [[5, 6, 7, 8]]
    assert result.metainfo == dict(
        img_id=8, ori_shape=(60, 80), img_shape=(60, 80), scale_factor=(1.0, 1.0)
    )
    grey = PackDetInputs(('img_id',)).transform(dict(img=np.zeros((4, 5)), img_id=1))
    assert grey['inputs'].shape == (1, 4, 5) and grey['data_samples'].metainfo == dict(img_id=1)
