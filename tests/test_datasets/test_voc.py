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


@pytest.mark.parametrize('encoding', ['gb2312', 'shift_jis', 'latin-1', 'utf-16'])
def test_encodings_that_files_declare(tmp_path, encoding):
    build(tmp_path, thing(1, 1, 9, 9))
    path = tmp_path / 'V' / 'Annotations' / 'x1.xml'
    name = 'h\xe4' if encoding == 'latin-1' else '\u732b'
    text = path.read_text().replace('dog', name)
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>\n{text}'.encode(encoding))
    dataset = VOCDataset(
        'list.txt',
        data_root=str(tmp_path),
        data_prefix=dict(sub_data_root='V'),
        metainfo=dict(classes=(name,)),
    )
    assert len(dataset.get_data_info(0)['instances']) == 1


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('<annotation>', '<annotation xmlns="http://x">', None),
        ('object>', 'Object>', None),
        ('annotation>', 'html>', None),
        ('object>', 'item>', None),
        ('<annotation>', '<?xml version="1.0" encoding="none"?><annotation>', 'unknown encoding'),
    ],
)
def test_tags_and_encodings_of_other_programs(tmp_path, old, new, message):
    build(tmp_path, thing(1, 1, 9, 9))
    path = tmp_path / 'V' / 'Annotations' / 'x1.xml'
    path.write_text(path.read_text().replace(old, new))
    options = dict(data_root=str(tmp_path), data_prefix=dict(sub_data_root='V'))
    if message:
        with pytest.raises(DataError, match=rf'x1\.xml, image x1: broken XML: {message}'):
            VOCDataset('list.txt', **options)
        return
    found = VOCDataset('list.txt', **options).get_data_info(0)['instances']
    assert len(found) == (new != 'item>')
    path.write_text('<html><body/></html>')
    with pytest.raises(DataError, match=r'x1\.xml, image x1: expected <annotation>, got <html>'):
        VOCDataset('list.txt', **options)


def test_lists_in_other_encodings(tmp_path):
    build(tmp_path, thing(1, 1, 9, 9))
    options = dict(data_root=str(tmp_path), data_prefix=dict(sub_data_root='V'))
    (tmp_path / 'list.txt').write_bytes('x1\n'.encode('utf-16'))
    assert len(VOCDataset('list.txt', **options)) == 1
    (tmp_path / 'list.txt').write_bytes(b'x1\xff\n')
    with pytest.raises(DataError, match=r'list\.txt: expected a text file in UTF-8'):
        VOCDataset('list.txt', **options)


def test_problems(tmp_path):
    dataset = build(tmp_path, thing(60, 1, 70, 4), thing(1, 1, 5, 5))
    assert len(dataset.get_data_info(0)['instances']) == 1
    assert 'dropped 1 of 2 annotations: 1 with a box outside' in dataset.problems.summary(2)
    with pytest.raises(DataError, match="image x1, annotation 0: unknown class 'dgo'"):
        build(tmp_path, thing(1, 1, 5, 5, name='dgo'))
    both = thing(1, 1, 5, 5), thing(2, 2, 9, 9, name='cat')
    subset = build(tmp_path, *both, metainfo=dict(classes=('cat',)))
    assert len(subset.get_data_info(0)['instances']) == 1
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


@pytest.mark.parametrize('name', ['x1.png', 'x1.JPG', 'x1.jpeg', 'x1.Bmp'])
def test_images_of_any_suffix(tmp_path, name):
    (tmp_path / 'V' / 'JPEGImages').mkdir(parents=True)
    (tmp_path / 'V/JPEGImages/x1.txt').write_text('not an image')
    (tmp_path / 'V/JPEGImages' / name).write_bytes(b'')
    info = build(tmp_path, thing(1, 1, 5, 5), check_images=True).get_data_info(0)
    assert info['img_path'].endswith(f'V/JPEGImages/{name}')
    (tmp_path / 'V/JPEGImages' / name).unlink()
    with pytest.raises(DataError, match=r'1 of 1 image files are missing'):
        build(tmp_path, thing(1, 1, 5, 5), check_images=True)


@pytest.mark.parametrize(
    'line', ['my  image', 'my  image -1', 'my  image.jpg', '\ufeffmy  image  1']
)
def test_names_with_blanks(tmp_path, line):
    build(tmp_path, thing(1, 1, 5, 5))
    (tmp_path / 'V/Annotations/x1.xml').rename(tmp_path / 'V/Annotations/my  image.xml')
    (tmp_path / 'list.txt').write_text(line + '\n' + line.lstrip('\ufeff') + '\n', encoding='utf-8')
    dataset = VOCDataset('list.txt', data_root=str(tmp_path), data_prefix=dict(sub_data_root='V'))
    assert dataset.get_data_info(0)['img_id'] == 'my  image' and len(dataset) == 1
    assert 'of an image that the list repeats' in dataset.problems.summary(1)


@pytest.mark.parametrize('size', ['100.0', ' 100 '])
def test_sizes_as_text_of_numbers(tmp_path, size):
    assert build(tmp_path, thing(1, 1, 5, 5), size=(size, size)).get_data_info(0)['width'] == 100


@pytest.mark.parametrize('size', ['wide', '', '-4', 'nan', '10.5'])
def test_sizes_that_are_none_are_the_images(tmp_path, size):
    with pytest.raises(DataError, match=r'x1.xml, image x1: size: expected a positive whole'):
        build(tmp_path, thing(1, 1, 5, 5), size=(size, size))
    (tmp_path / 'V/JPEGImages/x1.jpg').write_bytes(
        cv2.imencode('.jpg', np.zeros((24, 32, 3), np.uint8))[1].tobytes()
    )
    assert build(tmp_path, thing(1, 1, 5, 5), size=(size, size)).get_data_info(0)['width'] == 32


@pytest.mark.parametrize(
    ('text', 'flag'), [('0', 0), ('1', 1), ('Unspecified', 0), ('true', 1), ('', 0), ('1.0', 1)]
)
def test_difficult_is_read_as_meant(tmp_path, text, flag):
    dataset = build(tmp_path, thing(1, 1, 5, 5, difficult=text))
    assert dataset.get_data_info(0)['instances'][0]['ignore_flag'] == flag


def test_other_difficult_flags_are_refused(tmp_path):
    for text in ('2', 'very'):
        with pytest.raises(
            DataError, match=r'list\.txt, image x1, annotation 0: difficult: expect'
        ):
            build(tmp_path, thing(1, 1, 5, 5, difficult=text))


def test_classes_that_match_nothing(tmp_path):
    with pytest.raises(DataError, match=r"none of the classes .*'Dog' .nearest: 'dog'"):
        build(tmp_path, thing(1, 1, 5, 5), metainfo=dict(classes=('Dog',)))
    both = thing(1, 1, 5, 5), thing(2, 2, 9, 9, name='cat')
    for test_mode in (False, True):
        with pytest.raises(DataError, match=r"1 of the classes .*'catt' .nearest: 'cat'"):
            options = dict(metainfo=dict(classes=('dog', 'catt')), test_mode=test_mode)
            build(tmp_path, *both, **options)
    # A rare class may be absent from a list of images, as long as no name is left over.
    assert len(build(tmp_path, *both, metainfo=dict(classes=('dog', 'cat', 'zebra')))) == 1
    rest = dict(metainfo=dict(classes=('dog', 'zebra')))
    assert len(build(tmp_path, *both, **rest, test_mode=True)) == 1
    with pytest.raises(DataError, match="'zebra'"):
        build(tmp_path, *both, **rest)


def test_repeated_objects_and_weights(tmp_path):
    heavy = thing(2, 2, 9, 9).replace('</object>', '<weight>2.5</weight></object>')
    dataset = build(tmp_path, thing(1, 1, 5, 5), thing(1, 1, 5, 5), heavy)
    assert [o.get('weight') for o in dataset.get_data_info(0)['instances']] == [None, 2.5]
    assert 'dropped 1 of 3 annotations: 1 repeated' in dataset.problems.summary(3)
    with pytest.raises(DataError, match='annotation 0: weight: expected a finite number'):
        build(tmp_path, heavy.replace('2.5', 'much'))
