"""A damaged image costs itself, and boxes decide between two orientations."""

import io
import json

import cv2
import numpy as np
import pytest

from registry_losses.datasets import CocoDataset, SampleKey
from registry_losses.errors import DamagedImageError, DataError
from registry_losses.evaluation import CocoMetric
from registry_losses.transforms.image_file import is_cut_off, read_image
from registry_losses.visualization.draw import image_of

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackDetInputs')]


def picture(height=40, width=60, suffix='.jpg'):
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


def build(tmp_path, files, *, size=(40, 60), load=LOAD[0], **options):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    box = dict(category_id=1, bbox=[5, 5, 20, 20])
    data = dict(
        images=[
            dict(id=i, file_name=name, height=size[0], width=size[1])
            for i, name in enumerate(files)
        ],
        annotations=[dict(box, id=i, image_id=i) for i in range(len(files))],
        categories=[dict(id=1, name='a')],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(data))
    options = dict(metainfo=dict(classes=('a',)), pipeline=[load, *LOAD[1:]], **options)
    return CocoDataset('ann.json', data_root=str(tmp_path), **options)


DAMAGED = dict(
    cut_off_jpeg=lambda: picture()[:-200],
    half_a_jpeg=lambda: picture()[: len(picture()) // 2],
    cut_off_png=lambda: picture(suffix='.png')[:-50],
    text=lambda: b'<html>404</html>',
    empty=lambda: b'',
)


@pytest.mark.parametrize('damage', DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize('kind', ['LoadImageFromFile', 'CachedLoadImage'])
def test_training_takes_another_sample(tmp_path, damage, kind, caplog):
    files = {'good.jpg': picture(), 'bad.jpg': damage()}
    dataset = build(tmp_path, files, load=dict(type=kind))
    for key in (SampleKey(1, seed=3), 1):
        for _ in range(2):
            assert dataset[key]['data_samples'].img_path.endswith('good.jpg')
    assert len(dataset._damaged) == 1
    (message,) = dataset._damaged
    assert 'ann.json, image 1' in message and 'bad.jpg: cannot be decoded' in message


@pytest.mark.parametrize('damage', DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize('kind', ['LoadImageFromFile', 'CachedLoadImage'])
def test_a_test_counts_its_objects_as_missed(tmp_path, damage, kind):
    files = {'good.jpg': picture(), 'bad.jpg': damage()}
    dataset = build(tmp_path, files, load=dict(type=kind), test_mode=True)
    metric = CocoMetric(ann_file=str(tmp_path / 'ann.json'))
    metric.dataset_meta = dataset.metainfo
    for i in range(2):
        packed = dataset[i]
        sample = packed['data_samples']
        assert packed['inputs'].shape == (3, 40, 60) and len(sample.gt_instances) == 1
        assert (packed['inputs'] == 114).all() == (i == 1)
        assert image_of(sample).shape == (40, 60, 3)
        found = dict(bboxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, int))
        if i == 0:
            found = dict(bboxes=[[5, 5, 25, 25]], scores=[0.9], labels=[0])
        metric.process({}, [dict(img_id=sample.img_id, pred_instances=found)])
    assert metric.evaluate(2)['coco/bbox_AR@100'] == pytest.approx(0.5)


def test_a_damaged_partner_of_a_mosaic_costs_itself(tmp_path):
    files = {'good.jpg': picture(), 'bad.jpg': picture()[:-100]}
    dataset = build(tmp_path, files)
    dataset.pipeline.transforms.insert(2, build_one(dict(type='Mosaic', img_scale=(60, 40))))
    for seed in range(6):
        sample = dataset[SampleKey(0, seed=seed)]['data_samples']
        assert sample.img_path.endswith('good.jpg') and sample.img_shape == (80, 120)
    assert len(dataset._damaged) == 1


def test_many_damaged_images_are_an_error(tmp_path):
    files = {f'{i}.jpg': b'' if i else picture() for i in range(13)}
    dataset = build(tmp_path, files, test_mode=True)
    with pytest.raises(DataError, match=r'11 of 13 images are damaged, e.g. .*image 11'):
        for i in range(13):
            dataset[i]
    alone = build(tmp_path, {'0.jpg': b''}, max_refetch=3)
    with pytest.raises(DataError, match=r'no usable sample in 4 tries .damaged images: .*0.jpg'):
        alone[0]


def test_a_missing_file_is_an_error(tmp_path):
    dataset = build(tmp_path, {'a.jpg': picture()})
    (tmp_path / 'a.jpg').unlink()
    with pytest.raises(DataError, match=r'image 0, .*a.jpg: image file not found'):
        dataset[0]


def test_a_thumbnail_does_not_hide_the_cut(tmp_path):
    whole, thumbnail = picture(), picture(8, 8)
    # An APP1 segment with a whole JPEG in it, as cameras write it.
    length = (len(thumbnail) + 2).to_bytes(2, 'big')
    head = whole[:2] + b'\xff\xe1' + length + thumbnail
    assert not is_cut_off(head + whole[2:]) and not is_cut_off(head + whole[2:] + b'\0\0trailer')
    assert is_cut_off(head + whole[2:-20])
    (tmp_path / 'x.jpg').write_bytes(head + whole[2:-20])
    with pytest.raises(DamagedImageError, match='cut off after'):
        read_image(str(tmp_path / 'x.jpg'))


def turned_picture(orientation):
    """40 x 60 as stored, black but for a white corner at its upper left."""
    image = pytest.importorskip('PIL.Image')
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:8, :8] = 255
    picture, exif, out = image.fromarray(pixels), image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture.save(out, 'JPEG', exif=exif, quality=95)
    return out.getvalue()


@pytest.mark.parametrize('kind', ['LoadImageFromFile', 'CachedLoadImage'])
@pytest.mark.parametrize('color_type', ['color', 'color_ignore_orientation'])
@pytest.mark.parametrize('size', [(40, 60), (60, 40)])
def test_the_annotated_size_decides_the_orientation(tmp_path, size, color_type, kind):
    load = dict(type=kind, color_type=color_type)
    dataset = build(tmp_path, {'a.jpg': turned_picture(6)}, size=size, load=load)
    for _ in range(2):
        packed = dataset[0]
        sample = packed['data_samples']
        assert packed['inputs'].shape[1:] == size
        # Orientation 6: turn clockwise to view, so the upper left goes to the upper right.
        corner = (4, 4) if size == (40, 60) else (4, -5)
        assert packed['inputs'][0][corner] > 200
        assert image_of(sample).shape[:2] == size and image_of(sample)[(*corner, 0)] > 200


@pytest.mark.parametrize('color_type', ['color', 'color_ignore_orientation'])
def test_pictures_follow_the_pipeline_where_sizes_tell_nothing(tmp_path, color_type):
    load = dict(type='LoadImageFromFile', color_type=color_type)
    packed = build(tmp_path, {'a.jpg': turned_picture(3)}, load=load)[0]
    shown = image_of(packed['data_samples'])
    assert (packed['inputs'][0][4, 4] > 200) == (shown[4, 4, 0] > 200)
    assert (shown[4, 4, 0] > 200) == (color_type == 'color_ignore_orientation')


@pytest.mark.parametrize('shape', [(1, 3000), (3000, 1), (1, 1)])
@pytest.mark.parametrize(
    'resize',
    [
        dict(type='Resize', scale=(64, 48), keep_ratio=True),
        dict(type='Resize', scale_factor=0.01),
        dict(type='RandomResize', scale=(64, 48), ratio_range=(0.5, 1), keep_ratio=True),
        dict(type='RandomChoiceResize', scales=[(64, 48)], keep_ratio=True),
        dict(type='LetterResize', scale=(64, 48)),
        dict(type='MinIoURandomCrop'),
        dict(type='Expand', ratio_range=(1, 1.5), prob=1),
        dict(type='RandomCenterCropPad', crop_size=(32, 32), border=16),
        dict(type='RandomAffine'),
        dict(type='Mosaic', img_scale=(32, 32)),
        dict(type='MixUp', img_scale=(32, 32)),
        dict(type='RandomFlip', prob=1),
    ],
    ids=lambda node: node['type'],
)
def test_long_thin_images_pass_every_transform(tmp_path, shape, resize):
    (tmp_path / 'a.png').write_bytes(picture(*shape, suffix='.png'))
    dataset = build(tmp_path, {'a.png': picture(*shape, suffix='.png')}, size=shape)
    dataset.pipeline.transforms.insert(2, build_one(resize))
    packed = dataset[SampleKey(0)]
    assert min(packed['inputs'].shape[1:]) >= 1
    assert np.isfinite(packed['data_samples'].scale_factor).all()
    assert min(packed['data_samples'].scale_factor) > 0


def build_one(node):
    from registry_losses.registry import TRANSFORMS

    return TRANSFORMS.build(dict(node))
