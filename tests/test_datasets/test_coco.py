"""What the COCO reader keeps, drops and refuses, and what it says about it."""

import copy
import json

import cv2
import numpy as np
import pytest
import torch

from registry_losses.datasets import COCO_CLASSES, CocoDataset, SampleKey
from registry_losses.errors import DataError

CLASSES = ('cat', 'dog')


def content():
    return dict(
        images=[
            dict(id=7, file_name='a.png', width=40, height=30),
            dict(id=9, file_name='b.png', width=20, height=50),
        ],
        annotations=[
            dict(id=1, image_id=7, category_id=5, bbox=[1, 2, 10, 5], area=50, iscrowd=0),
            dict(id=2, image_id=7, category_id=3, bbox=[0, 0, 40, 30], area=1200, iscrowd=1),
        ],
        categories=[dict(id=3, name='cat'), dict(id=5, name='dog')],
    )


def build(tmp_path, data, **kwargs):
    (tmp_path / 'ann.json').write_text(data if isinstance(data, str) else json.dumps(data))
    kwargs.setdefault('metainfo', dict(classes=CLASSES))
    return CocoDataset('ann.json', data_root=str(tmp_path), data_prefix=dict(img='img'), **kwargs)


def with_annotation(**changes):
    data = content()
    ann = dict(id=33, image_id=9, category_id=5, bbox=[1, 1, 5, 5])
    data['annotations'].append({k: v for k, v in {**ann, **changes}.items() if v is not ...})
    return data


def test_boxes_labels_and_crowd(tmp_path):
    dataset = build(tmp_path, content())
    info = dataset.get_data_info(0)
    assert (info['img_id'], info['height'], info['width'], info['sample_idx']) == (7, 30, 40, 0)
    assert info['img_path'] == str(tmp_path / 'img' / 'a.png')
    assert info['instances'] == [
        dict(bbox=[1, 2, 11, 7], bbox_label=1, ignore_flag=0),
        dict(bbox=[0, 0, 40, 30], bbox_label=0, ignore_flag=1),
    ]
    assert dataset.cat_ids == [3, 5] and dataset.get_cat_ids(0) == [1]
    assert dataset.problems.summary(2) == ''
    assert dataset.get_data_info(1)['instances'] == []


def test_keypoints_are_kept(tmp_path):
    flat = [1.5, 2, 2, 0, 0, 0, 4, 5, 1]
    dataset = build(tmp_path, with_annotation(keypoints=flat, num_keypoints=2))
    (instance,) = dataset.get_data_info(1)['instances']
    assert instance['keypoints'] == [[1.5, 2], [0, 0], [4, 5]]
    assert instance['keypoints_visible'] == [2, 0, 1]
    with pytest.raises(DataError, match=r'ann.json, image 9, annotation 33: keypoints: expected'):
        build(tmp_path, with_annotation(keypoints=flat[:-1]))
    data = with_annotation(keypoints=flat)
    data['categories'][1]['keypoints'] = ['nose', 'tail']
    with pytest.raises(DataError, match='expected 3 x 2 finite numbers'):
        build(tmp_path, data)


@pytest.mark.parametrize(
    ('box', 'reason'),
    [
        ([30, 0, 5, 5], 'with a box outside the image'),
        ([-9, 0, 5, 5], 'with a box outside the image'),
        ([1, 1, 0, 5], 'with a box of no area'),
        ([1, 1, 5, -2], 'with a box of no area'),
        ([float('nan'), 1, 5, 5], 'with a box that is not finite'),
        ([1, 1, float('inf'), 5], 'with a box that is not finite'),
    ],
)
def test_useless_boxes_are_dropped_and_counted(tmp_path, box, reason):
    dataset = build(tmp_path, with_annotation(bbox=box))
    assert dataset.get_data_info(1)['instances'] == []
    text = dataset.problems.summary(3)
    assert text.startswith(f'{tmp_path}/ann.json: dropped 1 of 3 annotations: 1 {reason}')
    assert 'annotation 33 of image 9' in text
    with pytest.raises(DataError, match=f'ann.json, image 9, annotation 33: {reason}'):
        build(tmp_path, with_annotation(bbox=box), strict=True)


def test_boxes_are_clipped_and_large_changes_reported(tmp_path):
    dataset = build(tmp_path, with_annotation(bbox=[-4, 40, 10, 30]))
    assert dataset.get_data_info(1)['instances'][0]['bbox'] == [0, 40, 6, 50]
    assert 'changed 1 of 3 annotations: 1 clipped to the image' in dataset.problems.summary(3)
    rounding = build(tmp_path, with_annotation(bbox=[15, 1, 5.6, 3]))
    assert rounding.get_data_info(1)['instances'][0]['bbox'] == [15, 1, 20, 4]
    assert rounding.problems.summary(3) == ''


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(bbox=[1, 2, 3]), r'image 9, annotation 33: bbox: expected four numbers'),
        (dict(bbox=[1, 2, 3, 'x']), r'image 9, annotation 33: bbox: expected four numbers'),
        (dict(bbox=...), r"image 9, annotation 33: the annotation has no 'bbox'"),
        (dict(category_id=77), r'image 9, annotation 33: unknown category id 77'),
    ],
)
def test_malformed_annotations_raise(tmp_path, changes, message):
    with pytest.raises(DataError, match=f'ann.json, {message}'):
        build(tmp_path, with_annotation(**changes))


def test_annotation_of_an_unlisted_image_and_duplicates(tmp_path):
    dataset = build(tmp_path, with_annotation(image_id=1000))
    assert 'of an image that the file does not list' in dataset.problems.summary(3)
    data = content()
    data['annotations'].append(copy.deepcopy(data['annotations'][0]))
    dataset = build(tmp_path, data)
    assert len(dataset.get_data_info(0)['instances']) == 2
    assert 'repeated word for word (e.g. annotation 1 of image 7' in dataset.problems.summary(3)
    dataset = build(tmp_path, with_annotation(id=1))  # another object under a used id
    assert len(dataset.get_data_info(1)['instances']) == 1
    assert 'with the id of another annotation' in dataset.problems.summary(3)


def test_duplicate_images_and_broken_sizes_raise(tmp_path):
    data = content()
    data['images'][1]['id'] = 7
    with pytest.raises(DataError, match=r"ann.json, image 7: duplicate image id .*'a.png'"):
        build(tmp_path, data)
    data = content()
    del data['images'][1]['height']
    with pytest.raises(DataError, match=r'ann.json, image 9: expected a positive height and width'):
        build(tmp_path, data)


def test_broken_files(tmp_path):
    with pytest.raises(DataError, match=r'annotation file not found: .*nowhere.json'):
        CocoDataset(str(tmp_path / 'nowhere.json'))
    with pytest.raises(DataError, match=r'ann.json: broken json at line 1, column \d+'):
        build(tmp_path, json.dumps(content())[:-20])
    with pytest.raises(DataError, match=r'got a list .is it a file of detection results'):
        build(tmp_path, '[]')
    with pytest.raises(DataError, match="expected the list 'categories'"):
        build(tmp_path, '{"images": []}')
    with pytest.raises(DataError, match='expected at least one image, got none'):
        build(tmp_path, dict(images=[], annotations=[], categories=content()['categories']))


def test_categories_by_name(tmp_path):
    data = content()
    data['categories'].append(dict(id=8, name='horse'))
    data['annotations'].append(dict(id=3, image_id=9, category_id=8, bbox=[1, 1, 2, 2]))
    subset = build(tmp_path, data)  # all wanted classes are there: a subset is meant
    assert subset.get_data_info(1)['instances'] == []
    reordered = build(tmp_path, data, metainfo=dict(classes=('horse', 'dog', 'cat')))
    assert [i['bbox_label'] for i in reordered.get_data_info(0)['instances']] == [1, 2]
    assert len(reordered.metainfo['palette']) == 3
    with pytest.raises(DataError, match=r"'horse' \(nearest: 'hose'\).*missing from the file"):
        build(tmp_path, data, metainfo=dict(classes=('cat', 'dog', 'hose')))


def test_default_classes_refuse_unknown_names_and_take_a_part(tmp_path):
    dataset = build(tmp_path, content(), metainfo=None)
    assert dataset.metainfo['classes'] == COCO_CLASSES and len(COCO_CLASSES) == 80
    labels = [i['bbox_label'] for i in dataset.get_data_info(0)['instances']]
    assert labels == [COCO_CLASSES.index('dog'), COCO_CLASSES.index('cat')]
    data = content()
    data['categories'][1]['name'] = 'dogg'
    with pytest.raises(DataError, match=r"'dogg' \(nearest: 'dog'.*metainfo=dict\(classes"):
        build(tmp_path, data, metainfo=None)
    data['categories'][1]['name'] = 'cat'
    with pytest.raises(DataError, match='duplicate category'):
        build(tmp_path, data)


@pytest.mark.parametrize('classes', ['cat', ('cat', 'cat'), (), ('cat', 3)])
def test_classes_are_a_tuple_of_names(tmp_path, classes):
    with pytest.raises(DataError, match='classes'):
        build(tmp_path, content(), metainfo=dict(classes=classes))


def test_filters_apply_in_training_only(tmp_path):
    data = content()
    data['annotations'][0]['iscrowd'] = 1
    data['annotations'].append(dict(id=3, image_id=9, category_id=5, bbox=[1, 1, 2, 2]))
    ids = lambda d: [d.get_data_info(i)['img_id'] for i in range(len(d))]  # noqa: E731
    assert ids(build(tmp_path, data, filter_cfg=dict(filter_empty_gt=True))) == [9]
    assert ids(build(tmp_path, data, filter_cfg=dict(min_size=25))) == [7]
    assert ids(build(tmp_path, data, filter_cfg=dict(min_size=25), test_mode=True)) == [7, 9]
    assert ids(build(tmp_path, data, indices=-1)) == [9]
    with pytest.raises(ValueError, match='filter_emtpy_gt'):
        build(tmp_path, data, filter_cfg=dict(filter_emtpy_gt=True))


def test_missing_image_file(tmp_path):
    pipeline = [dict(type='LoadImageFromFile')]
    dataset = build(tmp_path, content(), pipeline=pipeline)
    with pytest.raises(DataError, match=r'ann.json, image 7, .*a.png: image file not found'):
        dataset[0]
    with pytest.raises(DataError, match=r'2 of 2 image files are missing, .*a.png \(image 7\)'):
        build(tmp_path, content(), check_images=True)


def test_image_of_another_size(tmp_path):
    (tmp_path / 'img').mkdir()
    cv2.imwrite(str(tmp_path / 'img' / 'a.png'), np.zeros((41, 30, 3), np.uint8))
    dataset = build(tmp_path, content(), pipeline=[dict(type='LoadImageFromFile')])
    with pytest.raises(DataError, match=r'annotations say 40 x 30 .*the file is 30 x 41'):
        dataset[0]


def test_rng_of_a_sample_is_keyed(tmp_path):
    dataset = build(tmp_path, content(), pipeline=[lambda r: r['rng'].random()])
    draw = dataset[SampleKey(1, seed=4, epoch=2)]
    assert draw == dataset[SampleKey(1, seed=4, epoch=2)]
    assert draw != dataset[SampleKey(1, seed=4, epoch=3)]
    assert draw != dataset[SampleKey(0, seed=4, epoch=2)]
    assert 'rng' not in dataset.get_data_info(1)
    tested = build(tmp_path, content(), pipeline=[lambda r: r['rng'].random()], test_mode=True)
    assert tested[1] == tested[1]


def test_a_transform_that_gives_up_is_replaced_reproducibly(tmp_path):
    dataset = build(
        tmp_path, content(), pipeline=[lambda r: None if r['img_id'] == 9 else r['img_id']]
    )
    assert dataset[SampleKey(1, seed=0, epoch=0)] == 7
    never = build(tmp_path, content(), pipeline=[lambda r: None], max_refetch=3)
    with pytest.raises(DataError, match='no usable sample in 4 tries'):
        never[SampleKey(0)]
    never.test_mode = True
    with pytest.raises(DataError, match='returned None for test sample 0'):
        never[0]


def test_pickled_and_unserialised_sets_agree(tmp_path):
    a, b = build(tmp_path, content()), build(tmp_path, content(), serialize_data=False)
    for i in range(2):
        x, y = a.get_data_info(i), b.get_data_info(i)
        assert {**x, 'dataset': 0} == {**y, 'dataset': 0}


def test_whole_pipeline_to_a_data_sample(tmp_path):
    (tmp_path / 'img').mkdir()
    cv2.imwrite(str(tmp_path / 'img' / 'a.png'), np.full((30, 40, 3), 9, np.uint8))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='Resize', scale=(80, 60), keep_ratio=True),
        dict(type='PackDetInputs'),
    ]
    packed = build(tmp_path, content(), pipeline=pipeline)[0]
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 60, 80) and packed['inputs'].dtype == torch.uint8
    assert sample.gt_instances.bboxes.tolist() == [[2, 4, 22, 14]]
    assert sample.gt_instances.labels.tolist() == [1]
    assert sample.ignored_instances.bboxes.tolist() == [[0, 0, 80, 60]]
    assert sample.metainfo['scale_factor'] == (2.0, 2.0)
    assert (sample.img_shape, sample.ori_shape, sample.img_id) == ((60, 80), (30, 40), 7)
