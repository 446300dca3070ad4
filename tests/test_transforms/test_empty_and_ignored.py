"""Every geometric transform: nothing to find, regions to ignore, and no annotations at all."""

import numpy as np
import pytest

from registry_losses.registry import TRANSFORMS

from .conftest import Partners, assert_boxes_match_pixels, painted

BOXES = [[8, 6, 30, 26], [42, 32, 72, 54]]


def partner(info):
    """No object in every second one; in the others one, which is to be ignored."""
    boxes = [] if info['index'] % 2 else [[12, 10, 44, 40]]
    sample = painted(boxes, labels=[5] * len(boxes))
    sample['gt_ignore_flags'][:] = True
    return {**sample, **info}  # its data set and generator go along


ALIKE = dict(pre_transform=[partner])
GEOMETRIC = {
    'resize': dict(type='Resize', scale=(120, 100)),
    'random_resize': dict(type='RandomResize', scale=(80, 60), ratio_range=(0.7, 1.5)),
    'choice': dict(type='RandomChoiceResize', scales=[(120, 90), (64, 64)]),
    'flip': dict(type='RandomFlip', prob=0.5),
    'pad': dict(type='Pad', size_divisor=32),
    'letterbox': dict(type='LetterResize', scale=(128, 128), pad_val=10),
    'expand': dict(type='Expand', mean=(10, 10, 10), prob=1.0),
    'min_iou_crop': dict(type='MinIoURandomCrop'),
    'centre_crop': dict(type='RandomCenterCropPad', crop_size=(60, 60), border=8),
    'centre_pad': dict(
        type='RandomCenterCropPad', test_mode=True, test_pad_mode=('logical_or', 31)
    ),
    'affine': dict(
        type='RandomAffine', max_rotate_degree=0, max_shear_degree=0, border_val=(10, 10, 10)
    ),
    'mosaic': dict(type='Mosaic', img_scale=(80, 60), pad_val=10, **ALIKE),
    'mixup': dict(type='YOLOv5MixUp', **ALIKE),
    'yolox_mixup': dict(type='MixUp', img_scale=(80, 60), pad_val=10, **ALIKE),
}
MIXING = ('mosaic', 'mixup', 'yolox_mixup')


def applied(name, sample):
    sample['dataset'] = Partners(partner, length=4)
    return TRANSFORMS.build(dict(GEOMETRIC[name])).transform(sample)


def assert_consistent(results):
    """All fields have a row an instance, in the types that the packing expects."""
    count = len(results['gt_bboxes'])
    assert results['gt_bboxes'].shape == (count, 4)
    assert results['gt_bboxes'].dtype == np.float32
    assert results['gt_bboxes_labels'].shape == results['gt_ignore_flags'].shape == (count,)
    assert results['gt_bboxes_labels'].dtype == np.int64
    assert results['gt_ignore_flags'].dtype == bool
    height, width = results['img'].shape[:2]
    assert (results['gt_bboxes'] >= 0).all()
    assert (results['gt_bboxes'] <= np.array([width, height] * 2) + 1e-3).all()


@pytest.mark.parametrize('name', GEOMETRIC)
def test_without_objects(name):
    for seed in range(8):
        results = applied(name, painted([], seed=seed))
        assert_consistent(results)
        assert results['img'].dtype == np.uint8 and results['img'].ndim == 3
        if name not in MIXING:
            assert len(results['gt_bboxes']) == 0
        assert results['gt_ignore_flags'].all()  # partners' objects are all to be ignored


@pytest.mark.parametrize('name', GEOMETRIC)
def test_flags_stay_with_their_boxes(name):
    """The second object is an ignore region: wherever it goes, its flag goes along."""
    kept = []
    for seed in range(12):
        sample = painted(BOXES, seed=seed)
        sample['gt_ignore_flags'][1] = True
        results = applied(name, sample)
        assert_consistent(results)
        labels, flags = results['gt_bboxes_labels'], results['gt_ignore_flags']
        assert flags.tolist() == [label != 0 for label in labels]
        own = labels < 2
        kept += labels[own].tolist()
        if name not in ('mixup', 'yolox_mixup'):  # their means have other colours
            single = {k: results[k][own] for k in ('gt_bboxes', 'gt_bboxes_labels')}
            assert_boxes_match_pixels({**single, 'img': results['img']}, atol=1.6, min_side=6)
    assert kept.count(0) >= 6 and kept.count(1) >= 4


@pytest.mark.parametrize('name', ['min_iou_crop', 'centre_crop'])
def test_crops_do_not_seek_what_is_to_be_ignored(name):
    """With ignore regions alone a crop need not hold any of them."""
    lost = 0
    for seed in range(40):
        sample = painted(BOXES[:1], seed=seed)
        sample['gt_ignore_flags'][:] = True
        results = applied(name, sample)
        assert_consistent(results)
        lost += not len(results['gt_bboxes'])
    assert lost > 5


@pytest.mark.parametrize('name', [n for n in GEOMETRIC if n not in MIXING])
def test_images_without_annotations(name):
    """Inference packs no boxes."""
    sample = {k: v for k, v in painted(BOXES).items() if not k.startswith('gt_')}
    results = applied(name, sample)
    assert 'gt_bboxes' not in results
    assert results['img'].shape[2] == 3


def test_a_mosaic_of_mosaics_for_mixup():
    """YOLOv5's strong augmentation: the partner of mixup is a mosaic, mapped as the first."""
    strong = [
        dict(type='Mosaic', img_scale=(80, 60), pad_val=10, **ALIKE),
        dict(type='RandomAffine', border=(-40, -30), border_val=(10, 10, 10)),
    ]
    for seed in range(6):
        sample = painted(BOXES, seed=seed)
        sample['dataset'] = Partners(partner, length=4)
        for node in strong:
            sample = TRANSFORMS.build(dict(node)).transform(sample)
        mixup = TRANSFORMS.build(dict(type='YOLOv5MixUp', pre_transform=[partner, *strong]))
        results = mixup.transform(sample)
        assert results['img'].shape == (60, 80, 3)
        assert_consistent(results)
