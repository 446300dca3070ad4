"""PASCAL VOC's XML files."""

import cv2
import numpy as np
import pytest

from registry_losses.datasets import VOCDataset
from registry_losses.errors import DataError

OBJECT = (
    '<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{0}</xmin>'
    '<ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>'
)


def build(tmp_path, *objects, size=(50, 40), **kwargs):
    for folder in ('Annotations', 'JPEGImages'):
        (tmp_path / 'V' / folder).mkdir(parents=True, exist_ok=True)
    text = f'<size><width>{size[0]}</width><height>{size[1]}</height></size>' + ''.join(objects)
    (tmp_path / 'V' / 'Annotations' / 'x1.xml').write_text(f'<annotation>{text}</annotation>')
    (tmp_path / 'list.txt').write_text('x1 1\n\n')
    prefix = dict(sub_data_root='V')
    return VOCDataset('list.txt', data_root=str(tmp_path), data_prefix=prefix, **kwargs)


def thing(*box, name='dog', difficult=0):
    return OBJECT.format(*box, name=name, difficult=difficult)


def test_boxes_are_one_based_and_inclusive(tmp_path):
    dataset = build(tmp_path, thing(1, 1, 50, 40), thing(3, 4, 3, 4, name='cat', difficult=1))
    info = dataset.get_data_info(0)
    assert (info['width'], info['height'], info['img_id']) == (50, 40, 'x1')
    assert info['img_path'].endswith('V/JPEGImages/x1.jpg')
    assert info['instances'] == [
        dict(bbox=[0, 0, 50, 40], bbox_label=11, ignore_flag=0),
        dict(bbox=[2, 3, 3, 4], bbox_label=7, ignore_flag=1),
    ]


def test_problems(tmp_path):
    dataset = build(tmp_path, thing(60, 1, 70, 4), thing(1, 1, 5, 5))
    assert len(dataset.get_data_info(0)['instances']) == 1
    assert 'dropped 1 of 2 annotations: 1 with a box outside' in dataset.problems.summary(2)
    with pytest.raises(DataError, match="image x1, annotation 0: unknown class 'dgo'"):
        build(tmp_path, thing(1, 1, 5, 5, name='dgo'))
    subset = build(tmp_path, thing(1, 1, 5, 5), metainfo=dict(classes=('cat',)))
    assert subset.get_data_info(0)['instances'] == []
    with pytest.raises(DataError, match='image x1, annotation 0: expected bndbox'):
        build(tmp_path, '<object><name>dog</name></object>')
    (tmp_path / 'V' / 'Annotations' / 'x1.xml').write_text('<annotation>')
    with pytest.raises(DataError, match=r'x1.xml, image x1: broken XML'):
        VOCDataset('list.txt', data_root=str(tmp_path), data_prefix=dict(sub_data_root='V'))
    (tmp_path / 'V' / 'Annotations' / 'x1.xml').unlink()
    with pytest.raises(DataError, match='image x1: no annotation file'):
        VOCDataset('list.txt', data_root=str(tmp_path), data_prefix=dict(sub_data_root='V'))
    with pytest.raises(DataError, match='annotation list not found'):
        VOCDataset('none.txt', data_root=str(tmp_path))


def test_size_is_read_from_the_image_where_the_file_says_0(tmp_path):
    (tmp_path / 'V' / 'JPEGImages').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'V/JPEGImages/x1.jpg'), np.zeros((24, 32, 3), np.uint8))
    info = build(tmp_path, thing(1, 1, 50, 40), size=(0, 0)).get_data_info(0)
    assert (info['width'], info['height']) == (32, 24)
    assert info['instances'][0]['bbox'] == [0, 0, 32, 24]
