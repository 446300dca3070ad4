"""What annotation files mean by flags, sizes, weights and identifiers."""

import json
import logging

import pytest
from mmengine.logging import MMLogger

from registry_losses.datasets import CocoDataset
from registry_losses.datasets.values import Ids, as_number, read_flag, read_id, read_size
from registry_losses.errors import DataError
from registry_losses.evaluation import CocoMetric


@pytest.fixture
def log():
    """The messages that a user sees."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record):
            messages.append(f'{record.levelname}: {record.getMessage()}')

    handler = Keep()
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def content(**changes):
    annotations = [
        dict(id=i, image_id=1 + i // 2, category_id=1 + i % 2, bbox=[5 * i, 5, 20, 20])
        for i in range(4)
    ]
    for ann in annotations:
        ann.update(changes)
    return dict(
        images=[dict(id=i, file_name=f'{i}.png', width=64, height=64) for i in (1, 2)],
        annotations=annotations,
        categories=[dict(id=1, name='a'), dict(id=2, name='b')],
    )


def build(tmp_path, data, **options):
    (tmp_path / 'ann.json').write_text(json.dumps(data))
    options.setdefault('metainfo', dict(classes=('a', 'b')))
    return CocoDataset('ann.json', data_root=str(tmp_path), **options)


def perfect_ap(tmp_path, dataset, **options):
    """AP when exactly the objects of the data set are predicted."""
    metric = CocoMetric(ann_file=str(tmp_path / 'ann.json'), **options)
    metric.dataset_meta = dataset.metainfo
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        kept = [o for o in info['instances'] if not o['ignore_flag']]
        pred = dict(
            bboxes=[o['bbox'] for o in kept],
            labels=[o['bbox_label'] for o in kept],
            scores=[0.9] * len(kept),
        )
        metric.process({}, [dict(img_id=info['img_id'], pred_instances=pred)])
    return metric.evaluate(len(dataset))['coco/bbox_mAP']


@pytest.mark.parametrize(
    ('value', 'flag'),
    [(0, 0), (1, 1), (True, 1), (1.0, 1), ('0', 0), ('1', 1), (' No ', 0), ('yes', 1)]
    + [(None, 0), ('', 0), ('Unspecified', 0)],
)
@pytest.mark.parametrize('key', ['iscrowd', 'ignore'])
def test_flags_are_read_as_meant(tmp_path, key, value, flag):
    assert read_flag(value)[0] == flag
    dataset = build(tmp_path, content(**{key: value}))
    flags = [o['ignore_flag'] for i in range(2) for o in dataset.get_data_info(i)['instances']]
    assert flags == [flag] * 4
    assert flag or perfect_ap(tmp_path, dataset) == pytest.approx(1)


@pytest.mark.parametrize('value', [2, -1, 0.5, 'maybe', [1], float('nan')])
@pytest.mark.parametrize('key', ['iscrowd', 'ignore'])
def test_other_flags_are_refused_by_file_id_and_key(tmp_path, key, value):
    with pytest.raises(DataError, match=rf'ann.json, image 1, annotation 0: {key}: expected 0 or'):
        build(tmp_path, content(**{key: value}))


@pytest.mark.parametrize('value', ['64', 64.0, '64.0', ' 64 '])
def test_sizes_are_read_as_meant(tmp_path, value):
    data = content()
    data['images'][0].update(width=value, height=value)
    info = build(tmp_path, data).get_data_info(0)
    assert (info['width'], info['height']) == (64, 64)


@pytest.mark.parametrize('value', [None, 'wide', 0, -3, 64.5, float('inf'), float('nan'), True])
def test_other_sizes_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match='positive whole number'):
        read_size(value)
    data = content()
    data['images'][1]['width'] = value
    with pytest.raises(
        DataError, match=r'ann\.json, image 2: expected a positive height and width'
    ):
        build(tmp_path, data)


IDS = dict(
    from_zero=[0, 1, 2, 3],
    per_image=[1, 2, 1, 2],
    negative=[-1, -2, -3, -4],
    huge=[2 * 10**19 + i for i in range(4)],
    beyond_floats=[10**400 + i for i in range(4)],
    text=list('abcd'),
    mixed=[0, '0', 0.0, 'x'],
    none=[None] * 4,
)


@pytest.mark.parametrize('backend', ['faster-coco-eval', 'pycocotools'])
@pytest.mark.parametrize('ids', IDS.values(), ids=IDS)
def test_annotation_ids_do_not_change_ap(tmp_path, ids, backend):
    data = content()
    for ann, number in zip(data['annotations'], ids):
        ann['id'] = number
    dataset = build(tmp_path, data)
    assert sum(len(dataset.get_data_info(i)['instances']) for i in range(2)) == 4
    assert perfect_ap(tmp_path, dataset, backend=backend) == pytest.approx(1)


@pytest.mark.parametrize('backend', ['faster-coco-eval', 'pycocotools'])
@pytest.mark.parametrize('ids', [(0, 1), (-1, -7), (10**30, 5), ('x', 'y')])
@pytest.mark.parametrize('of', ['image', 'category'])
def test_image_and_category_ids_do_not_change_ap(tmp_path, of, ids, backend):
    data = content()
    new = dict(zip((1, 2), ids))
    for item in data['images' if of == 'image' else 'categories']:
        item['id'] = new[item['id']]
    for ann in data['annotations']:
        ann[f'{of}_id'] = new[ann[f'{of}_id']]
    assert perfect_ap(tmp_path, build(tmp_path, data), backend=backend) == pytest.approx(1)


def test_text_that_means_a_number_is_the_same_id(tmp_path):
    data = content()
    for ann in data['annotations']:
        ann.update(image_id=str(ann['image_id']), category_id=str(ann['category_id']))
    dataset = build(tmp_path, data)
    assert 'image_id as text or number, read as the other' in dataset.problems.summary(4)
    assert perfect_ap(tmp_path, dataset) == pytest.approx(1)
    assert Ids([1, '1']).find(1.0) == (1, False)
    assert Ids([1, '1']).find('1') == ('1', False)


@pytest.mark.parametrize('value', [None, [1], 1.5, True, '', float('nan')])
def test_what_is_no_id_is_refused(tmp_path, value):
    with pytest.raises(ValueError, match='whole number or text'):
        read_id(value)
    for key in ('images', 'categories'):
        data = content()
        data[key][0]['id'] = value
        with pytest.raises(DataError, match=r'ann.json: (image|category) .*id: expected a whole'):
            build(tmp_path, data)


def test_numbers_that_are_none():
    assert [as_number(v) for v in ('x', None, True, 10**400, float('inf'), '1e400')] == [None] * 6


DROPPED = dict(
    no_area=dict(bbox=[1, 1, 0, 9]),
    outside=dict(bbox=[90, 1, 5, 5]),
    not_finite=dict(bbox=[1, 1, float('nan'), 5]),
    unlisted_image=dict(image_id=99),
    copy=dict(),
    copy_with_its_own_id=dict(id=77),
)


@pytest.mark.parametrize('changes', DROPPED.values(), ids=DROPPED)
def test_what_the_data_set_drops_the_metric_drops(tmp_path, changes, log):
    data = content()
    data['annotations'].append({**data['annotations'][0], **changes})
    dataset = build(tmp_path, data)
    assert sum(len(dataset.get_data_info(i)['instances']) for i in range(2)) == 4
    log.clear()
    assert perfect_ap(tmp_path, dataset) == pytest.approx(1)
    assert any('ann.json: dropped 1 of 5 annotations' in text for text in log)


def test_clipped_boxes_count_as_clipped_in_both(tmp_path):
    data = content(bbox=[50, 50, 30, 30])
    dataset = build(tmp_path, data)
    assert dataset.get_data_info(0)['instances'][0]['bbox'] == [50, 50, 64, 64]
    assert perfect_ap(tmp_path, dataset) == pytest.approx(1)


@pytest.mark.parametrize('area', [None, 'x', -5, '400', 0])
def test_areas_that_are_none_are_worked_out(tmp_path, area):
    assert perfect_ap(tmp_path, build(tmp_path, content(area=area))) == pytest.approx(1)


def test_the_line_of_counts(tmp_path, log):
    data = content()
    data['annotations'][0]['iscrowd'] = 1
    build(tmp_path, data)
    assert f'INFO: {tmp_path}/ann.json: 2 images, 3 objects: a 1, b 2; 1 ignore regions' in log
    log.clear()
    build(tmp_path, content(iscrowd=1))
    assert any(t.startswith('WARNING') and '0 objects: a 0, b 0; 4 ignore' in t for t in log)


def test_classes_that_match_nothing(tmp_path, log):
    with pytest.raises(DataError, match=r"1 of the classes .*'unicorn' .nearest: none"):
        build(tmp_path, content(), metainfo=dict(classes=('a', 'b', 'unicorn')))
    build(tmp_path, content(), metainfo=dict(classes=('a', 'b', 'unicorn')), test_mode=True)
    assert any(t.startswith('WARNING') and "no category named ['unicorn']" in t for t in log)
    with pytest.raises(DataError, match=r"'A' \(nearest: 'a'\)"):
        build(tmp_path, content(), metainfo=dict(classes=('A', 'b')), test_mode=True)
    options = dict(metainfo=dict(classes=('a', 'unicorn')), missing_classes='warn')
    log.clear()
    assert len(build(tmp_path, content(), **options)) == 2
    assert any('2 of 4 annotations are skipped' in t and '(b 2)' in t for t in log)
    with pytest.raises(ValueError, match='missing_classes'):
        build(tmp_path, content(), missing_classes='ignore')


def test_names_are_text_without_blanks_around(tmp_path):
    data = content()
    data['categories'] = [dict(id=1, name=' a '), dict(id=2, name=7)]
    dataset = build(tmp_path, data, metainfo=dict(classes=('a', '7')))
    assert dataset.cat_ids == [1, 2]
    for name in (None, '', ['a']):
        data['categories'][0]['name'] = name
        with pytest.raises(DataError, match='name: expected a name'):
            build(tmp_path, data)
    data = content()
    data['images'][0]['file_name'] = None
    with pytest.raises(DataError, match='image 1: file_name: expected a name'):
        build(tmp_path, data)


@pytest.mark.parametrize('name', ['a\0', '\ud800'])
def test_names_that_no_file_or_terminal_takes(tmp_path, name):
    data = content()
    data['images'][0]['file_name'] = name
    with pytest.raises(DataError, match=r'ann\.json, image 1: file_name: expected text'):
        build(tmp_path, data)
    data = content()
    data['categories'][0]['name'] = name
    with pytest.raises(DataError, match=r"ann\.json: category .*'id': 1.* name: expected text"):
        build(tmp_path, data)


@pytest.mark.parametrize(
    'text', ['[' * 50_000, '{"a":' * 50_000, '{"images": [%s]}' % ('9' * 5000)]
)
def test_json_that_the_parser_gives_up_on(tmp_path, text):
    (tmp_path / 'ann.json').write_text(text)
    with pytest.raises(DataError, match=r'ann\.json: (no annotation file|Exceeds the limit)'):
        CocoDataset('ann.json', data_root=str(tmp_path), metainfo=dict(classes=('a', 'b')))


def test_numbers_beyond_all_floats_are_not_finite(tmp_path):
    dataset = build(tmp_path, content(bbox=[10**400, 1, 5, 5]))
    assert dataset.problems.dropped == {'with a box that is not finite': 4}
    with pytest.raises(DataError, match='weight: expected a finite number'):
        build(tmp_path, content(weight=1e308))


@pytest.mark.parametrize('key', ['CLASSES', 'clases', 'class'])
def test_misspelt_metainfo(tmp_path, key):
    with pytest.raises(DataError, match=f"metainfo: '{key}' is not read: write classes="):
        build(tmp_path, content(), metainfo={key: ('a', 'b')})


def test_weights(tmp_path):
    data = content()
    data['annotations'][1]['weight'] = '0.25'
    first, second = build(tmp_path, data).get_data_info(0)['instances']
    assert 'weight' not in first and second['weight'] == 0.25
    for value in (-1, None, 'heavy', float('nan')):
        data['annotations'][1]['weight'] = value
        with pytest.raises(DataError, match='annotation 1: weight: expected a finite number'):
            build(tmp_path, data)
