"""From one format to another and back: boxes, classes, crowds, and the split by image."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from registry_losses.commands.convert_dataset import convert_dataset_main
from registry_losses.datasets.convert import split_images
from registry_losses.datasets.formats import find_format, read_dataset
from registry_losses.datasets.yolo_text import yolo_classes
from registry_losses.errors import DataError

NAMES = ('day/x 1.png', 'night/x 1.png', 'y.JPG', 'z.jpeg')


@pytest.fixture
def source(tmp_path):
    """Four images, two of one name; one object is a crowd, one has a weight."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i, name in enumerate(NAMES):
        path = tmp_path / 'in' / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((48, 64, 3), 40 * i, np.uint8))
        images.append(dict(id=i, file_name=name, width=64, height=48))
        for k in range(i):  # the first has none
            x, y = rng.integers(0, 30, 2).tolist()
            box = dict(bbox=[x, y, 20 + k, 10.5], category_id=5 + k % 2, iscrowd=int(k == 2))
            annotations.append(dict(box, id=9, image_id=i))
    annotations[0]['weight'] = 0.5
    path = tmp_path / 'in' / 'annotations' / 'instances_all.json'
    path.parent.mkdir()
    categories = [dict(id=5, name='red cell'), dict(id=6, name='b')]
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return path


def by_file(content, *, weights=True):
    """File -> its objects, comparable."""
    result = {}
    for image in content.images:
        name = str(Path(image['img_path']).absolute().relative_to(content.root.absolute()))
        objects = [
            (content.classes[o['bbox_label']], o['ignore_flag'], *np.round(o['bbox'], 2).tolist())
            + ((o.get('weight'),) if weights else ())
            for o in image['instances']
        ]
        result[name] = (image['width'], image['height'], sorted(objects, key=str))
    return result


def test_there_and_back(source, tmp_path, capsys):
    wanted = read_dataset(source)
    assert wanted.kind == 'coco' and len(by_file(wanted)) == 4
    assert sum(len(objects) for *_, objects in by_file(wanted).values()) == 6
    convert_dataset_main([str(source), '--to', 'voc', '--out', str(tmp_path / 'voc')])
    voc = read_dataset(tmp_path / 'voc/ImageSets/Main/all.txt', classes=wanted.classes)
    assert voc.kind == 'voc' and by_file(voc) == by_file(wanted)
    convert_dataset_main([str(tmp_path / 'voc'), '--to', 'yolo', '--out', str(tmp_path / 'yolo')])
    assert 'Weights of objects are left out' in capsys.readouterr().out
    yolo = read_dataset(tmp_path / 'yolo' / 'data.yaml')
    names = {f'all/{name}': value for name, value in by_file(wanted, weights=False).items()}
    assert yolo.kind == 'yolo'
    found = {
        k if k.startswith('all') else f'all/{k}': v for k, v in by_file(yolo, weights=False).items()
    }
    assert found == names
    options = ['--to', 'coco', '--out', str(tmp_path / 'coco'), '--place', 'copy']
    convert_dataset_main([str(tmp_path / 'yolo'), *options])
    coco = read_dataset(tmp_path / 'coco' / 'annotations' / 'all.json')
    assert sorted(by_file(coco, weights=False).values(), key=str) == sorted(names.values(), key=str)
    flags = [o['ignore_flag'] for image in coco.images for o in image['instances']]
    assert sum(flags) == 1
    assert all(not Path(image['img_path']).is_symlink() for image in coco.images)


def test_the_split_is_by_image_and_seeded(source, tmp_path, capsys):
    for run in ('a', 'b'):
        out = ['--out', str(tmp_path / run), '--split', 'train=0.75', 'val=0.25', '--place', 'none']
        convert_dataset_main([str(source), *out, '--seed', '3'])
    one, two = (tmp_path / run / 'annotations' / 'train.json' for run in 'ab')
    assert one.read_text() == two.read_text()
    parts = [json.loads((one.parent / f'{name}.json').read_text()) for name in ('train', 'val')]
    files = [{image['file_name'] for image in part['images']} for part in parts]
    assert [len(f) for f in files] == [3, 1] and files[0] | files[1] == set(NAMES)
    assert f'Images: {source.parent.parent / "images"}' in capsys.readouterr().out
    orders = {str(split_images(list(range(9)), dict(a=0.5, b=0.5), seed=s)) for s in range(9)}
    assert len(orders) > 5
    tiny = split_images(list(range(3)), dict(train=0.98, val=0.01, test=0.01))
    assert [len(part) for part in tiny.values()] == [1, 1, 1]
    with pytest.raises(DataError, match='sum 1'):
        split_images([1, 2], dict(train=0.5, val=0.4))
    with pytest.raises(DataError, match='cannot be split'):
        split_images([1], dict(train=0.5, val=0.5))


def test_what_cannot_be_read_is_named(source, tmp_path):
    with pytest.raises(DataError, match='no such file'):
        find_format(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='neither a COCO json, nor VOC'):
        find_format(tmp_path / 'empty')
    (source.parent.parent / 'images').rename(tmp_path / 'elsewhere')
    with pytest.raises(DataError, match=r"the image 'day/x 1.png' is not in .*--images FOLDER"):
        read_dataset(source)
    assert len(read_dataset(source, images=tmp_path / 'elsewhere').images) == 4
    with pytest.raises(DataError, match='nowhere: no such folder of images'):
        read_dataset(source, images=tmp_path / 'nowhere')


@pytest.mark.parametrize(
    'line', ['0 0.5 0.5 0.2', '1e400 1 1 1 1', '2 0.5 0.5 0.2 0.2', 'x 1 1 1 1', '0 9 9 3 3']
)
def test_yolo_lines_that_are_none(tmp_path, line):
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / 'images/a.png'), np.zeros((20, 20, 3), np.uint8))
    (tmp_path / 'classes.txt').write_text('one\ntwo\n')
    (tmp_path / 'labels/a.txt').write_text(f'1 0.5 0.5 0.2 0.4\n\n{line}\n')
    with pytest.raises(DataError, match=r'a.txt, line 3: expected "class cx cy w h"'):
        read_dataset(tmp_path)
    (tmp_path / 'labels/a.txt').write_text('1 0.5 0.5 0.2 0.4\n')
    (image,) = read_dataset(tmp_path).images
    assert image['instances'] == [dict(bbox=[8, 6, 12, 14], bbox_label=1, ignore_flag=0)]
    (tmp_path / 'labels/a.txt').unlink()
    with pytest.raises(DataError, match=r'no text file at .*labels/a\.txt'):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('names:', r'expected names: \[\.\.\.\]'),
        ('names: 3', 'names: expected a list of names, got 3'),
        ('names: {1: one, 5: two}', r'names: expected a list, or the numbers 0 to 1, got \[1, 5\]'),
        ('names: [one, one]', 'names: expected each name once'),
        (': : :', 'broken YAML'),
    ],
)
def test_names_that_would_give_objects_other_classes(tmp_path, text, message):
    (tmp_path / 'data.yaml').write_text(text)
    with pytest.raises(DataError, match=rf'data\.yaml: {message}'):
        yolo_classes(tmp_path / 'data.yaml')
    (tmp_path / 'data.yaml').write_text('names: {1: two, 0: one}')
    assert yolo_classes(tmp_path / 'data.yaml') == ('one', 'two')
