"""VOC from its files to its AP, by hand: difficult objects, one-based boxes, both curves."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.datasets import VOCDataset
from registry_losses.evaluation import VOCMetric

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # Twice the size and mirrored, so that the way back to the file's pixels is part of it.
    dict(type='Resize', scale=(200, 100), keep_ratio=False),
    dict(type='RandomFlip', prob=1.0),
    dict(type='PackDetInputs'),
]
# Image: class, difficult, xmin ymin xmax ymax as VOC writes them.
OBJECTS = {
    'one': [('dog', 0, 1, 1, 20, 20), ('dog', 1, 41, 1, 60, 20), ('cat', 0, 61, 21, 80, 40)],
    'two': [('dog', 0, 11, 11, 30, 30), ('dog', 0, 51, 11, 70, 30)],
    'three': [],
}
# Image: class, score, box xyxy in continuous pixels of the file.
DETECTIONS = {
    'one': [
        ('dog', 0.9, 0, 0, 20, 20),  # hit
        ('dog', 0.8, 40, 0, 60, 20),  # the difficult one: neither
        ('dog', 0.75, 40, 0, 60, 19),  # the difficult one again: neither
        ('dog', 0.7, 0, 0, 20, 19),  # the same object twice: false alarm
        ('cat', 0.5, 60, 20, 80, 40),  # hit
    ],
    'two': [('dog', 0.6, 10, 10, 30, 30)],  # hit; the other is missed
    'three': [('dog', 0.95, 5, 5, 25, 25)],  # false alarm, the surest of all
}


@pytest.fixture
def dataset(tmp_path):
    import cv2

    root = tmp_path / 'VOC2007'
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    for name, objects in OBJECTS.items():
        cv2.imwrite(str(root / 'JPEGImages' / f'{name}.jpg'), np.zeros((50, 100, 3), np.uint8))
        text = '<size><width>100</width><height>50</height></size>'
        for label, difficult, x1, y1, x2, y2 in objects:
            text += (
                f'<object><name>{label}</name><difficult>{difficult}</difficult><bndbox>'
                f'<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>'
                '</bndbox></object>'
            )
        (root / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{text}</annotation>')
    (root / 'ImageSets' / 'Main' / 'test.txt').write_text('\n'.join(OBJECTS))
    return VOCDataset(
        'VOC2007/ImageSets/Main/test.txt',
        data_root=str(tmp_path),
        data_prefix=dict(sub_data_root='VOC2007'),
        pipeline=PIPELINE,
        test_mode=True,
    )


@pytest.mark.parametrize(
    ('mode', 'dog'),
    [
        # Of three dogs that count, in the order of scores: false alarm (0.95), hit, [two left
        # out], false alarm, hit. Precision 0, 1/2, 1/3, 2/4 at recall 0, 1/3, 1/3, 2/3.
        ('area', 2 / 3 * 1 / 2),
        # Recall 0, 0.1 ... 0.6 are seven of the eleven steps.
        ('11points', 7 / 11 * 1 / 2),
    ],
)
def test_by_hand(dataset, mode, dog):
    classes = dataset.metainfo['classes']
    metric = VOCMetric(eval_mode=mode)
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        found = DETECTIONS[sample.img_id]
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([d[2:] for d in found]).float(),
            scores=torch.tensor([d[1] for d in found]),
            labels=torch.tensor([classes.index(d[0]) for d in found]),
        )
        metric.process({}, [sample.to_dict()])
    values = metric.evaluate(len(dataset))
    # The cat is found: AP 1. Classes without an object do not count.
    assert values['pascal_voc/mAP'] == pytest.approx((dog + 1) / 2)
